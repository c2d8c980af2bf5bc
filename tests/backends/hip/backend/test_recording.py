"""What is recorded runs in its order, launched one by one or as a captured graph."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forge.backend import BackendError
from forge_gpu.memory import Region
from forge_hip.backend import HipBackend
from forge_hip.memory import Arenas
from forge_hip.recording import Commands, Kernel, Recording
from forge_hip.runtime.compiler import Unit

COUNT = 64
DOUBLE = Unit(
    "double",
    """extern "C" __global__ void double_(unsigned* values, unsigned more) {
  values[threadIdx.x] = 2 * values[threadIdx.x] + more;
}
""",
    entries=("double_",),
)


class Bench:
    """Owns memory of both sides, and a kernel that doubles and adds."""

    def __init__(self, backend: HipBackend) -> None:
        self.workshop = backend.workshop
        pool = backend.workshop.pool
        self._arenas = Arenas(pool, "device", 1 << 16), Arenas(pool, "upload", 1 << 12)
        device, host = self._arenas
        self.there = device.region(4 * COUNT)
        self.given, self.seen = host.region(4 * COUNT), host.region(4 * COUNT)
        backend._opening.compiler.prepare([DOUBLE])
        function = backend._opening.compiler.function("double_")
        self.kernel = Kernel("double", function, 1, 4, COUNT)

    def steps(self, recording: Recording, times: int) -> None:
        recording.copy(self.given, self.there)
        for more in range(times):
            push = struct.pack("I", more)
            recording.dispatch(self.kernel, [self.there], (1, 1, 1), writes=[0], push=push)
        recording.copy(self.there, self.seen)

    def result(self, recorded: object, start: int) -> list[int]:
        self.given.view(np.uint32)[:] = np.arange(COUNT) + start
        self.seen.view(np.uint32)[:] = 0
        queue = self.workshop.queue
        queue.wait(queue.submit([recorded]))
        return self.seen.view(np.uint32).tolist()

    def close(self) -> None:
        for arenas in self._arenas:
            arenas.close()


@pytest.fixture
def bench(backend: HipBackend) -> Iterator[Bench]:
    bench = Bench(backend)
    yield bench
    bench.close()


def expected(start: int, times: int) -> list[int]:
    values = np.arange(COUNT, dtype=np.uint32) + start
    for more in range(times):
        values = 2 * values + more
    return values.tolist()


@pytest.mark.parametrize("times", [1, 10])
@pytest.mark.parametrize("graphs", [False, True])
def test_it_computes_from_what_is_in_memory_each_time_that_it_runs(
    bench: Bench, graphs: bool, times: int
) -> None:
    commands = Commands(bench.workshop.stream, graphs=graphs)
    recording = commands.recording()
    bench.steps(recording, times)
    recorded = recording.end()
    assert (recorded.graph is not None) is (graphs and times == 10)
    for start in (1, 100):
        assert bench.result(recorded, start) == expected(start, times)
    commands.close()


@pytest.mark.parametrize("call", ["hipStreamEndCapture", "hipGraphInstantiate"])
def test_where_a_graph_cannot_be_made_launches_do_the_same(
    bench: Bench, faults: Path, capfd: pytest.CaptureFixture[str], call: str
) -> None:
    commands = Commands(bench.workshop.stream, graphs=True)
    faults.write_text(f"{call}@1=err:2")
    recordings = [commands.recording() for _ in range(2)]
    for recording in recordings:
        bench.steps(recording, 10)
    first = recordings[0].end()
    faults.write_text("")
    second = recordings[1].end()
    for recorded in (first, second):
        assert recorded.graph is None
        assert bench.result(recorded, 5) == expected(5, 10)
    assert (
        f"one by one from now on, as the device has no memory left ({call}"
        in capfd.readouterr().err
    )
    commands.close()


def test_one_with_time_stamps_tells_how_long_each_kernel_took_and_computes_the_same(
    bench: Bench,
) -> None:
    commands, profile = bench.workshop.commands(), bench.workshop.profile()
    recording = commands.recording(profile)
    bench.steps(recording, 10)
    recorded = recording.end()
    assert recorded.graph is None
    assert bench.result(recorded, 3) == expected(3, 10)
    told = profile.read()
    assert [kernel for _, kernel, _, _ in told] == ["double"] * 10
    times = [time for *_, begin, end in told for time in (begin, end)]
    assert times == sorted(times)
    profile.close()
    commands.close()


def test_a_fill_sets_bytes_and_refuses_a_word_whose_bytes_differ(bench: Bench) -> None:
    recording = bench.workshop.commands().recording()
    with pytest.raises(ValueError, match="whose bytes differ"):
        recording.fill(bench.there, 0x01020304)
    recording.fill(bench.there, 0x07070707)
    recording.copy(bench.there, bench.seen)
    assert bench.result(recording.end(), 0) == [0x07070707] * COUNT


@pytest.mark.parametrize(("count", "push"), [(2, b"\0\0\0\0"), (1, b""), (1, bytes(8))])
def test_a_kernel_that_is_given_something_else_than_it_takes_is_refused_before_it_runs(
    bench: Bench, count: int, push: bytes
) -> None:
    recording = bench.workshop.commands().recording()
    regions: list[Region] = [bench.there] * count
    with pytest.raises(BackendError, match="double takes 1 buffers and 4 bytes"):
        recording.dispatch(bench.kernel, regions, (1, 1, 1), writes=[0], push=push)
