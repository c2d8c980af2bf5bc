"""The one stream: every copy and every launch is on it, and every wait for it has an end.

Sources and targets are regions, which only the pool makes: pageable memory, a mapped file or the
null stream cannot be named here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from forge.backend import Array, BackendError, BackendHung
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.events import Event
from forge_hip.runtime.launches import Launch, Packed
from forge_hip.runtime.regions import Region
from forge_hip.runtime.staging import STEP, Ring

__all__ = ["SPIN_S", "Event", "Stream"]

NON_BLOCKING = 0x1
"""hipStreamNonBlocking: nothing on the null stream, should a library use it, holds it up."""
_LIMIT_S = 10.0
"""After which a wait counts as stuck. No kernel driver watches ROCm's queues."""
_QUIET_S = 0.25
"""Of waiting, before the log is told about it; then again after twice as long."""
SPIN_S = 100e-6
"""Of a wait, before it sleeps between looks."""
_LONGEST_SLEEP_S = 1e-3
_SHARE = 50
"""Of a wait, the sleep between two looks is this part: what it may last too long is 2 %."""
_STOPPED_S = 1.0
"""A look that took so long: this process was stopped, or the driver's call was slow."""


class Stream:
    """Owns the stream, its ring of pinned memory and the events of waits.

    `limit` is in seconds, as is `spin`, for which a wait does not sleep between two looks. A wait
    past the limit raises BackendHung, with the layer that the device began last.
    """

    def __init__(
        self,
        driver: Driver,
        limit: float | None = None,
        name: str = "the device",
        step: int = STEP,
        spin: float = SPIN_S,
    ) -> None:
        self.driver, self.limit, self.name = driver, limit or _LIMIT_S, name
        self._spin = spin
        self._step = step
        self._ring: Ring | None = None
        self._handle = driver.call("hipStreamCreateWithFlags", NON_BLOCKING)
        self._free: list[Event] = []
        self.open = True
        self.launches = 0

    def launch(
        self,
        function: Any,
        grid: tuple[int, int, int],
        threads: tuple[int, int, int],
        args: Packed,
        shared: int = 0,
    ) -> None:
        """Put one kernel on the stream; the driver copies the arguments."""
        self.launches += 1
        self.driver.launch(function, grid, threads, shared, self._handle, args.extra)

    def run(self, launches: Iterable[Launch]) -> None:
        """Put kernels on the stream, in order."""
        for one in launches:
            self.launch(one.function, one.grid, one.threads, one.arguments, one.shared)

    def copy(self, source: Region, target: Region) -> None:
        """As many bytes as the source has, between the device and pinned memory or within it.

        A pinned source must stay as it is, and a pinned target is not to be read, until a wait.
        """
        if source.size > target.size:
            raise ValueError(f"{source.size} bytes do not fit into {target.size}")
        if source.pinned and target.pinned:
            raise ValueError("the host copies its own memory")
        if source.size:
            self.driver.copy(
                *(target.address, source.address, source.size, source.pinned, target.pinned),
                self._handle,
            )

    @property
    def ring(self) -> Ring:
        """The one ring of pinned memory, made when it is first needed."""
        if self._ring is None:
            self._ring = Ring(self, self._step)
        return self._ring

    def copy_to(self, region: Region, data: Array | bytes | bytearray | memoryview) -> None:
        """Bytes of the host's, through the ring; they may change as soon as this returns."""
        given = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data
        flat = np.ascontiguousarray(given).reshape(-1).view(np.uint8)
        if len(flat) > region.size:
            raise ValueError(f"{len(flat)} bytes do not fit into {region.size}")
        for start in range(0, len(flat), self.ring.step):
            part = flat[start : start + self.ring.step]
            index, piece = self.ring.put(part)
            self.copy(piece.part(0, len(part)), region.part(start, len(part)))
            self.ring.used(index)

    def copy_from(self, region: Region, kind: Any = np.uint8) -> Array:
        """The region's bytes as they are once all that is on the stream is done."""
        found = np.empty(region.size, np.uint8)
        for start in range(0, region.size, self.ring.step):
            part = region.part(start, min(self.ring.step, region.size - start))
            index, piece = self.ring.take()
            self.copy(part, piece)
            self.ring.used(index)
            self.wait()
            found[start : start + part.size] = piece.view()[: part.size]
        size = region.size // np.dtype(kind).itemsize * np.dtype(kind).itemsize
        seen: Array = found[:size].view(kind)
        return seen

    def fill(self, region: Region, byte: int = 0) -> None:
        """Set every byte of device memory."""
        if region.pinned:
            raise ValueError("the host fills its own memory")
        if region.size:
            self.driver.call("hipMemsetAsync", region.address, byte, region.size, self._handle)

    def event(self) -> Event:
        """A place in the stream after all that was put on it; to be waited for once."""
        made = self._free.pop() if self._free else Event(self.driver)
        self.record(made)
        return made

    def timed(self) -> Event:
        """A place whose time on the device can be told; the caller closes it."""
        made = Event(self.driver, timing=True)
        self.record(made)
        return made

    def record(self, event: Event) -> None:
        """Put an event on the stream, again if it was there before."""
        self.driver.call("hipEventRecord", event.handle, self._handle)

    def wait(self, where: Callable[[], str] | None = None, event: Event | None = None) -> None:
        """Until the device came by the event, by default by all that is on the stream.

        `where` tells the last piece of work that it began, else the driver's marks do. Raises
        BackendHung past the limit; BackendLost from the driver.
        """
        awaited = event or self.event()
        marks = self.driver.marks
        before, marks.where = marks.where, where or marks.where
        try:
            self._until(awaited)
        finally:
            marks.where = before
        self._free.append(awaited)

    def _until(self, event: Event) -> None:
        start = looked = time.monotonic()
        patience = _QUIET_S
        while not event.reached():
            now = time.monotonic()
            if now - looked > _STOPPED_S:
                start += now - looked  # a debugger, a suspended machine
            waited = now - start
            if waited > self.limit:
                said = f"{self.name} did not finish a piece of work in {waited:.1f} s"
                # Whatever is asked of it from now on, if only to close it, would wait as well.
                self.driver.lost = f"{said}{self._place()}"
                raise BackendHung(self.driver.lost)
            if waited > patience:
                # The host may kill this process before the limit; it keeps the log's end.
                sys.stderr.write(f"waiting for the device for {waited:.1f} s{self._place()}\n")
                sys.stderr.flush()
                patience *= 2
            looked = time.monotonic()
            if waited > self._spin:
                time.sleep(min(_LONGEST_SLEEP_S, waited / _SHARE))

    def _place(self) -> str:
        place = self.driver.marks.where()
        return f"; the last that it began: {place}" if place else ""

    @contextmanager
    def capturing(self) -> Iterator[list[Any]]:
        """What is put on the stream meanwhile goes into the graph of the list that this gives."""
        made: list[Any] = []
        self.driver.call("hipStreamBeginCapture", self._handle, self.driver.capture_mode())
        try:
            yield made
            made.append(self.driver.call("hipStreamEndCapture", self._handle))
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """End a capture that failed; the driver may have ended it by itself."""
        with suppress(BackendError):
            if graph := self.driver.call("hipStreamEndCapture", self._handle):
                self.driver.call("hipGraphDestroy", graph)

    def replay(self, graph: Any) -> None:
        """Put an instantiated graph (`graphs.Graph.handle`) on the stream."""
        self.driver.call("hipGraphLaunch", graph, self._handle)

    def read(self, source: Region, kind: Any = np.uint8) -> Array:
        """A copy of pinned memory, once all that is on the stream is done."""
        self.wait()
        return source.view(kind).copy()

    def close(self) -> None:
        """Give it back, once the device is done; where it is lost, the process's end does."""
        if not self.open:
            return
        self.open = False
        if self._ring is not None:
            self._ring.close()
        if self.driver.lost:
            return
        self.wait()
        for event in self._free:
            event.close()
        self._free.clear()
        self.driver.call("hipStreamDestroy", self._handle)
