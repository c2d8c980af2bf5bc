"""Recording: launches, copies and fills, put on the stream one by one or as a captured graph."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from forge.backend import BackendError, BackendHung, BackendLost
from forge_gpu.memory import Region
from forge_hip.memory import behind
from forge_hip.profile import Profile
from forge_hip.runtime.graphs import Graph
from forge_hip.runtime.launches import Launch, Packed
from forge_hip.runtime.stream import Stream

_WORTH_A_GRAPH = 8
"""Launches and copies, from which on one call is cheaper than each by itself."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled kernel: what it is called with, and the threads of its work groups."""

    name: str
    function: Any
    bindings: int
    push: int
    threads: int


class Recorded:
    """What a recording ended as: to be put on the stream as often as wanted."""

    def __init__(self, steps: Sequence[Callable[[], None]]) -> None:
        self._steps = tuple(steps)
        self.graph: Graph | None = None

    def capture(self, stream: Stream) -> None:
        """From now on one call replays all of it; what is recorded must not change any more."""
        self.graph = Graph(stream, self._put)

    def replay(self) -> None:
        """Put it on the stream."""
        if self.graph:
            self.graph.replay()
        else:
            self._put()

    def _put(self) -> None:
        for step in self._steps:
            step()

    def close(self) -> None:
        """Give its graph back."""
        graph, self.graph = self.graph, None
        if graph:
            graph.close()


class Commands:
    """Owns recordings that belong together, and their graphs, where there are some."""

    def __init__(self, stream: Stream, *, graphs: bool) -> None:
        self.stream, self._graphs = stream, graphs
        self._recorded: list[Recorded] = []

    def recording(self, profile: Profile | None = None, flow: Region | None = None) -> Recording:
        """A new one, perhaps with time stamps: then its kernels are launched one by one."""
        del flow  # no kernel of this backend waits for another
        return Recording(self, profile)

    def ended(self, steps: Sequence[Callable[[], None]], *, timed: bool) -> Recorded:
        """What a recording made."""
        made = Recorded(steps)
        if self._graphs and not timed and len(steps) >= _WORTH_A_GRAPH:
            try:
                made.capture(self.stream)
            except (BackendHung, BackendLost):
                raise
            except BackendError as error:  # no room, say: launches do as well, only later
                self._graphs = False
                sys.stderr.write(f"launches one by one from now on, as {error}\n")
            self._recorded.append(made)
        return made

    def close(self) -> None:
        """Give all of it back; nothing of it may be under way."""
        while self._recorded:
            self._recorded.pop().close()


class Recording:
    """Collects what is to be put on the stream, whose order is the order of what is recorded."""

    flow = None

    def __init__(self, commands: Commands, profile: Profile | None = None) -> None:
        self._commands, self._profile = commands, profile
        self._steps: list[Callable[[], None]] = []

    def dispatch(
        self,
        kernel: Kernel,
        bindings: Sequence[Region],
        groups: tuple[int, int, int],
        *,
        writes: Sequence[int],
        push: bytes = b"",
        label: str = "",
        waits: bool = False,
    ) -> None:
        """Run a kernel over so many work groups."""
        del writes, waits  # the stream has an order
        if 0 in groups:
            return
        if len(bindings) != kernel.bindings or len(push) != kernel.push:
            raise BackendError(
                f"{kernel.name} takes {kernel.bindings} buffers and {kernel.push} bytes of "
                f"constants, not {len(bindings)} and {len(push)}"
            )
        packed = Packed([behind(region) for region in bindings], push)
        threads = kernel.threads, 1, 1
        launch = Launch(kernel.function, groups, threads, packed, label=label or kernel.name)
        step: Callable[[], None] = partial(self._commands.stream.run, (launch,))
        if self._profile:
            step = self._profile.around(step, launch.label, kernel.name)
        self._steps.append(step)

    def after_barrier(self, kernel: Kernel, bindings: Sequence[Region], push: bytes) -> None:
        """Run one work group once what was recorded before is done."""
        packed = Packed([behind(region) for region in bindings], push)
        launch = Launch(kernel.function, (1, 1, 1), (kernel.threads, 1, 1), packed)
        self._steps.append(partial(self._commands.stream.run, (launch,)))

    def copy(self, source: Region, target: Region) -> None:
        """Copy as many bytes as the source has."""
        self._steps.append(partial(self._commands.stream.copy, behind(source), behind(target)))

    def fill(self, target: Region, word: int = 0) -> None:
        """Set every 32-bit word, to four equal bytes."""
        byte = word & 0xFF
        if word != byte * 0x01010101:
            raise ValueError(f"a fill with {word:#x}, whose bytes differ")
        self._steps.append(partial(self._commands.stream.fill, behind(target), byte))

    def end(self) -> Recorded:
        """What a queue takes."""
        return self._commands.ended(self._steps, timed=self._profile is not None)
