"""Barriers, or levels that wait for each other, stand where data flows, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import recorded, tiny

from forge_gpu.flow import Flow
from forge_gpu.memory import Region
from forge_vulkan.runtime.kernels import Kernel
from forge_vulkan.runtime.profile import Profile
from forge_vulkan.runtime.recording import Commands, Recording

BARRIER = "barrier"
Reads, Writes = Sequence[Region], Sequence[Region]
Level = int | None
Event = tuple[Reads, Writes, Level] | str
"""What a kernel reads and writes, and its level if it can wait; or a barrier."""


class Noted(Recording):
    """A recording that also keeps what it was given, and where it put barriers."""

    def __init__(
        self, commands: Commands, profile: Profile | None = None, flow: Flow | None = None
    ) -> None:
        self.events: list[Event] = []
        super().__init__(commands, profile, flow)

    def dispatch(
        self,
        kernel: Kernel,
        bindings: Sequence[Region],
        groups: tuple[int, int, int],
        *,
        writes: Sequence[int],
        waits: bool = False,
        **more: Any,
    ) -> None:
        super().dispatch(kernel, bindings, groups, writes=writes, waits=waits, **more)
        if 0 not in groups:
            written = [bindings[i] for i in writes]
            reads = [b for i, b in enumerate(bindings) if i not in writes]
            level = None
            if self.flow and waits:
                reads.append(self.flow.region)  # its counters are 0 first
                level = self.flow.level
            self.events.append((reads, written, level))

    def copy(self, source: Region, target: Region) -> None:
        super().copy(source, target)
        self.events.append(([source], [target], None))

    def fill(self, target: Region, word: int = 0) -> None:
        super().fill(target, word)
        self.events.append(([], [target], None))

    def _barrier(self, *given: int) -> None:
        super()._barrier(*given)
        self.events.append(BARRIER)


class NotedCommands(Commands):
    """Makes such recordings, and keeps them."""

    def __init__(self, gpu: Any) -> None:
        super().__init__(gpu)
        self.made: list[Noted] = []

    def recording(self, profile: Profile | None = None, flow: Region | None = None) -> Recording:
        self.made.append(Noted(self, profile, Flow(flow) if flow else None))
        return self.made[-1]


def conflict(one: Event, other: Event) -> bool:
    """Whether the second has to wait for the first."""
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    touched = [*other[0], *other[1]]
    return any(w.meets(t) for w in one[1] for t in touched) or any(
        r.meets(w) for r in one[0] for w in other[1]
    )


def waited(one: Event, other: Event) -> bool:
    """Whether the second waits for the first by itself."""
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    return one[2] is not None and other[2] is not None and one[2] < other[2]


def cached(one: Event, other: Event) -> bool:
    """Whether the second writes what the first has read: waiting does not help caches."""
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    return any(r.meets(w) for r in one[0] for w in other[1])


def missing_and_needless(events: Sequence[Event]) -> tuple[int, int]:
    """Conflicts that nobody waits for, and barriers and levels before which nothing conflicts."""
    missing = needless = 0
    since: list[Event] = []
    fresh = False
    before: list[Event] = []
    for event in events:
        if isinstance(event, str):
            before, since, fresh = since, [], True
            continue
        missing += any(
            conflict(earlier, event) and (not waited(earlier, event) or cached(earlier, event))
            for earlier in since
        )
        if fresh:
            needless += not any(conflict(earlier, event) for earlier in before)
            fresh = False
        elif event[2] is not None:
            levels = [e[2] for e in since if e[2] is not None]
            last = [e for e in since if levels and e[2] == max(levels)]
            if last and event[2] > max(levels):
                needless += not any(conflict(earlier, event) for earlier in last)
        since.append(event)
    return missing, needless


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3moe", "gpt-oss", "gpt2"])
def test_every_section_of_a_model_has_all_barriers_that_it_needs_and_no_other(
    desk: Desk, tmp_path: Path, architecture: str
) -> None:
    path = tiny(tmp_path, architecture, quant="q8_0")
    commands = NotedCommands(desk.gpu)
    dispatches = 0
    with recorded(desk, path, commands) as (recordings, _):
        assert recordings.samples
        for recording in commands.made:
            *events, last = recording.events
            assert last == BARRIER  # for the submission that follows, and for the host
            assert missing_and_needless(events) == (0, 0)
            assert recording.count.barriers == recording.events.count(BARRIER)
            dispatches += len(events)
        levels = [e[2] for made in commands.made for e in made.events if not isinstance(e, str)]
        assert (max(level or 0 for level in levels) > 4) is desk.gpu.features.flow
    assert dispatches > 40


Step = Callable[[Noted, dict[str, Region], Kernel], None]


def write(name: str) -> Step:
    return lambda recording, regions, kernel: recording.dispatch(
        kernel, [regions[name]], (1, 1, 1), writes=[0], push=b"\0\0\0\0"
    )


def read(name: str) -> Step:
    """A kernel that is said to change nothing."""
    return lambda recording, regions, kernel: recording.dispatch(
        kernel, [regions[name]], (1, 1, 1), writes=[], push=b"\0\0\0\0"
    )


def copy(source: str, target: str) -> Step:
    return lambda recording, regions, _: recording.copy(regions[source], regions[target])


def fill(name: str) -> Step:
    return lambda recording, regions, _: recording.fill(regions[name])


@pytest.mark.parametrize(
    ("steps", "barriers"),
    [
        pytest.param([write("a"), write("b")], 0, id="apart"),
        pytest.param([write("a"), read("a")], 1, id="read after write"),
        pytest.param([read("a"), write("a")], 1, id="write after read"),
        pytest.param([write("a"), write("a")], 1, id="write after write"),
        pytest.param([read("a"), read("a"), copy("a", "b")], 0, id="read after read"),
        pytest.param([write("left"), write("right")], 0, id="parts of one buffer"),
        pytest.param([write("left"), read("whole")], 1, id="a part and the whole"),
        pytest.param([write("a"), write("b"), read("a"), read("b")], 1, id="one for two"),
        pytest.param([write("a"), read("a"), write("b"), read("b")], 2, id="one after another"),
        pytest.param([write("a"), read("a"), read("a")], 1, id="seen is seen"),
        pytest.param([fill("a"), copy("a", "b"), read("b")], 2, id="copies"),
        pytest.param([write("a"), read("a"), copy("a", "b")], 2, id="a copy sees kernels anew"),
        pytest.param([fill("a"), read("a"), copy("a", "b")], 1, id="a copy behind a full one"),
    ],
)
def test_a_barrier_comes_between_what_depends_on_each_other(
    desk: Desk, steps: list[Step], barriers: int
) -> None:
    whole = desk.array(np.zeros(128, np.int32))
    regions = {name: desk.array(np.zeros(64, np.int32)) for name in "ab"}
    regions |= {"whole": whole, "left": whole.part(0, 256), "right": whole.part(256, 256)}
    kernel = desk.kernels.get("mark", bindings=1, push=4, constants=(1, 1))
    recording = Noted(desk.commands)
    for step in steps:
        step(recording, regions, kernel)
    assert recording.count.barriers == barriers
    desk.queue.run([recording.end()])
    assert recording.count.barriers == barriers + 1


def test_a_mark_is_written_behind_a_barrier_and_asks_for_none(desk: Desk) -> None:
    regions = {name: desk.array(np.zeros(64, np.int32)) for name in ("a", "b", "mark")}
    kernel = desk.kernels.get("mark", bindings=1, push=4, constants=(1, 1))
    recording = Noted(desk.commands)
    recording.after_barrier(kernel, [regions["mark"]], b"\5\0\0\0")
    write("a")(recording, regions, kernel)
    write("b")(recording, regions, kernel)
    assert recording.count.barriers == 0
    write("a")(recording, regions, kernel)
    desk.queue.run([recording.end()])
    assert recording.count.barriers == 2
    assert regions["mark"].view(np.int32)[0] == 5
