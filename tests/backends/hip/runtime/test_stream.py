"""Copies and launches on the one stream, through pinned memory, with waits that end."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from tests.backends.hip.runtime.conftest import Play
from tests.backends.hip.runtime.desk import ONE, Desk

from forge_hip.runtime.launches import Launch, Packed
from forge_hip.runtime.pool import Arenas, Region
from forge_hip.runtime.staging import Staging


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, count, np.uint8)


@pytest.mark.parametrize("size", [1, 4096, 4097, 50_001])
def test_bytes_come_back_as_they_went(desk: Desk, size: int) -> None:
    arenas = Arenas(desk.pool)
    region, data = arenas.region(size), numbers(size)
    desk.stream.copy_to(region, data)
    assert np.array_equal(desk.stream.copy_from(region), data)
    arenas.close()


def test_the_hosts_bytes_may_change_as_soon_as_they_were_taken(desk: Desk) -> None:
    arenas = Arenas(desk.pool)
    region, data = arenas.region(3000), numbers(3000)
    given = data.copy()
    desk.stream.copy_to(region, given)
    given[:] = 0
    assert np.array_equal(desk.stream.copy_from(region), data)
    arenas.close()


def test_copies_fills_and_launches_happen_in_their_order(desk: Desk) -> None:
    arenas = Arenas(desk.pool)
    a, b = arenas.region(8), arenas.region(8)
    ping = desk.compiler.function("forge_ping")
    desk.stream.fill(a, 1)
    launch = Launch(ping, ONE, ONE, Packed([a, b], struct.pack("<I", 1)))
    desk.stream.run([launch])
    desk.stream.copy(b.part(0, 4), a.part(4, 4))
    desk.stream.fill(b, 0)
    assert desk.stream.copy_from(a, np.uint32).tolist() == [0x01010101, 0x01010102]
    assert desk.stream.copy_from(b, np.uint32).tolist() == [0, 0]
    arenas.close()


def test_what_cannot_be_copied_is_refused_before_the_driver_hears_of_it(desk: Desk) -> None:
    host = Arenas(desk.pool, "host", 4096)
    one, two = host.region(16), host.region(16)
    calls = desk.driver.marks.calls
    with pytest.raises(ValueError, match="its own memory"):
        desk.stream.copy(one, two)
    with pytest.raises(ValueError, match="its own memory"):
        desk.stream.fill(one)
    with pytest.raises(ValueError, match="do not fit"):
        desk.stream.copy(one, Region(4096, 8))
    with pytest.raises(ValueError, match="do not fit"):
        desk.stream.copy_to(Region(4096, 8), bytes(9))
    assert desk.driver.marks.calls == calls
    host.close()


def test_times_on_the_device_are_told_between_events(desk: Desk) -> None:
    before = desk.stream.timed()
    desk.plus(1, 2)
    after = desk.stream.timed()
    desk.stream.wait()
    assert after.reached()
    assert after.seconds_since(before) >= 0
    before.close()
    after.close()


@pytest.mark.parametrize("direct", [True, False])
def test_pieces_of_a_weight_reach_the_kernels_that_sort_them(desk: Desk, direct: bool) -> None:
    target, data = desk.pool.take(40_000), numbers(40_000)
    held = desk.pool.device.made
    staging = Staging(desk.stream, desk.pool, direct, 3000)
    for start in range(0, len(data), staging.step):
        piece = data[start : start + staging.step].copy()

        def write(region: Region, start: int = start, size: int = len(piece)) -> None:
            assert region.pinned == direct
            desk.stream.copy(region.part(0, size), target.part(start, size))

        staging.send(piece, write)
        piece[:] = 0
    staging.close()
    assert np.array_equal(desk.stream.copy_from(target)[: len(data)], data)
    assert desk.pool.device.made == held, "it found room in an arena that was there"


STALL = """
import sys
import time
from tests.backends.hip.runtime.desk import Desk, Layers
from forge.backend import BackendHung, BackendLost

desk = Desk()
desk.stream.limit = 0.7
layers = Layers(desk)
try:
    for number in range(9):
        layers.record(number)
        desk.stream.wait(layers.where)
except BackendHung as error:
    print(error)
try:
    desk.stream.wait()
except BackendLost as error:
    print("again:", error)
started = time.monotonic()
desk.close()
print("closed at once:", time.monotonic() - started < 0.5)
"""


def test_a_device_that_stops_is_noticed_and_its_layer_named(play: Play) -> None:
    done = play(STALL, HIPSIM_FAULT="device[forge_ping]@9=stall", PYTHONPATH=os.getcwd())
    assert "did not finish a piece of work in" in done.stdout, done.stderr
    assert "the last that it began: layer 7" in done.stdout
    assert "waiting for the device for" in done.stderr
    assert "again: the device did not finish" in done.stdout
    assert "closed at once: True" in done.stdout


COUNTED = """
from tests.backends.hip.runtime.desk import Desk
desk = Desk()
for number in range(40):
    assert desk.plus(number, 2) == number + 2
desk.close()
"""


def test_the_driver_counts_one_stream_and_few_allocations(play: Play, tmp_path: Path) -> None:
    """HIPSIM_STRICT is on by default: pageable memory or the null stream would be errors."""
    settings = {"HIPSIM_COUNTERS": str(tmp_path), "HIPSIM_TRACE": str(tmp_path / "trace")}
    done = play(COUNTED, PYTHONPATH=os.getcwd(), **settings)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "trace").read_text().splitlines()
    calls = [line.split()[0] for line in lines]
    assert calls.count("hipMalloc") == 1
    assert calls.count("hipHostMalloc") == 1
    assert calls.count("hipStreamCreate") == 1
    assert calls.count("hipModuleLaunchKernel") == 40
    assert not any("null" in line or "pageable" in line for line in lines)
