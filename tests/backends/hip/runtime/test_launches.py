"""Arguments are packed as kernels read them, once."""

from __future__ import annotations

import ctypes
import struct

import pytest

from forge_hip.runtime.launches import Launch, Packed
from forge_hip.runtime.pool import Region


def seen(packed: Packed) -> bytes:
    """What the driver is given: HIP_LAUNCH_PARAM_BUFFER_POINTER, and ..._SIZE."""
    assert (packed.extra[0], packed.extra[2], packed.extra[4]) == (1, 2, 3)
    size = ctypes.c_size_t.from_address(packed.extra[3] or 0).value
    return ctypes.string_at(packed.extra[1], size)


def test_addresses_come_first_and_constants_after_them() -> None:
    packed = Packed([Region(0x1000, 16), Region(0x2000, 16)], struct.pack("<If", 3, 0.5))
    assert seen(packed) == struct.pack("<QQIf", 0x1000, 0x2000, 3, 0.5)


def test_buffers_and_constants_can_change_in_place() -> None:
    packed = Packed([Region(0x1000, 16), Region(0x2000, 16)], struct.pack("<II", 3, 4))
    packed.point(1, Region(0x3000, 16))
    packed.set(struct.pack("<I", 9), offset=4)
    assert seen(packed) == struct.pack("<QQII", 0x1000, 0x3000, 3, 9)


def test_what_lies_outside_is_refused() -> None:
    packed = Packed([Region(0x1000, 16)], bytes(8))
    with pytest.raises(ValueError, match="of 8 of constants"):
        packed.set(bytes(4), offset=6)
    with pytest.raises(IndexError):
        packed.point(1, Region(0x2000, 16))


@pytest.mark.parametrize(
    ("grid", "threads", "shared"),
    [
        ((0, 1, 1), (32, 1, 1), 0),
        ((1, 1, 1), (32, 0, 1), 0),
        ((1, 1, 1), (1025, 1, 1), 0),
        ((1, 1, 1), (32, 1, 1), 65537),
    ],
)
def test_a_launch_that_no_device_can_run_is_refused(
    grid: tuple[int, int, int], threads: tuple[int, int, int], shared: int
) -> None:
    with pytest.raises(ValueError, match="mine"):
        Launch(None, grid, threads, Packed([]), shared, "mine")
