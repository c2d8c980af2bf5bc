"""A few large allocations serve any number of regions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.backends.hip.runtime.desk import Desk

from forge.backend import BackendOutOfMemory
from forge_hip.runtime.pool import Arenas, Pool, Region

MIB = 1 << 20


def test_a_thousand_regions_take_one_allocation(desk: Desk) -> None:
    pool = Pool(desk.driver)
    arenas = Arenas(pool)
    regions = [arenas.region(4096) for _ in range(1000)]
    assert (pool.device.made, pool.arenas) == (1, 1)
    assert not any(a.meets(b) for a, b in pairwise(regions))
    assert all(region.address % 256 == 0 for region in regions)
    arenas.close()
    pool.close()


def test_what_is_given_back_is_taken_again_and_joins_its_neighbours(desk: Desk) -> None:
    pool = Pool(desk.driver, small=MIB)
    a, b, c = (pool.take(MIB // 4) for _ in range(3))
    pool.give(b)
    pool.give(a)
    whole = pool.take(MIB // 2)
    assert whole.address == a.address
    assert not whole.meets(c)
    pool.give(c)
    pool.give(whole)
    assert pool.take(MIB).address == a.address
    assert pool.device.made == 1
    pool.close()


def test_a_large_piece_is_an_allocation_of_its_own_and_goes_back_at_once(desk: Desk) -> None:
    pool = Pool(desk.driver, small=MIB)
    before = desk.driver.call("hipMemGetInfo")[0]
    large = pool.take(8 * MIB)
    assert desk.driver.call("hipMemGetInfo")[0] == before - 8 * MIB
    pool.give(large)
    assert desk.driver.call("hipMemGetInfo")[0] == before
    assert pool.arenas == 0


def test_no_room_says_how_much_was_wanted_and_leaves_the_rest_usable(desk: Desk) -> None:
    pool = Pool(desk.driver, "the card", small=MIB)
    with pytest.raises(BackendOutOfMemory, match="the card has no room for 1048576 MiB more"):
        pool.take(1 << 40)
    assert pool.take(MIB).size == MIB
    pool.close()


def test_more_than_one_allocation_holds_is_refused(desk: Desk) -> None:
    pool = Pool(desk.driver, allocation_bytes=MIB)
    with pytest.raises(BackendOutOfMemory, match="at most 1048576"):
        pool.take(MIB + 1)
    with pytest.raises(BackendOutOfMemory, match="at most 1048576"):
        Arenas(pool).region(MIB + 1)


def test_what_is_reserved_beyond_one_allocation_comes_in_several(desk: Desk) -> None:
    pool = Pool(desk.driver, allocation_bytes=MIB)
    arenas = Arenas(pool)
    arenas.reserve(3 * MIB)
    regions = [arenas.region(MIB // 2) for _ in range(6)]
    assert pool.device.made == 3
    assert not any(a.meets(b) for a, b in pairwise(regions))
    arenas.close()
    pool.close()


def test_a_region_of_another_pool_cannot_be_given_back(desk: Desk) -> None:
    with pytest.raises(ValueError, match="none of this pool's"):
        Pool(desk.driver).give(Region(4096, 256))


def test_parts_stay_within_their_region() -> None:
    region = Region(1000, 100)
    assert region.part(50, 50).address == 1050
    for offset, size in ((-1, 1), (0, 101), (100, 1), (0, -1)):
        with pytest.raises(ValueError, match="of a region of 100"):
            region.part(offset, size)


def test_the_host_sees_pinned_memory_and_no_other(desk: Desk) -> None:
    pool = Pool(desk.driver)
    host = Arenas(pool, "host", 4096)
    region = host.region(16)
    region.view(np.uint32)[:] = 7
    assert region.part(4, 4).view(np.uint32).tolist() == [7]
    assert host.mapped
    assert pool.device.made == 0
    host.close()
    with pytest.raises(ValueError, match="does not see"):
        Region(1000, 100).view()


def test_pinned_memory_is_pooled_as_well(desk: Desk) -> None:
    pool = Pool(desk.driver)
    for _ in range(100):
        hosts = [Arenas(pool, "host", MIB) for _ in range(4)]
        regions = [arenas.region(1000) for arenas in hosts]
        assert len({region.address for region in regions}) == 4
        for arenas in hosts:
            arenas.close()
    assert (pool.host.made, pool.device.made) == (1, 0)
    pool.close()


def test_each_region_can_be_an_allocation_of_its_own_to_find_overruns(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_HIP_SEPARATE", "1")
    pool = Pool(desk.driver)
    arenas = Arenas(pool)
    for size in (100, 200, 300):
        arenas.region(size)
    assert pool.arenas == 3
    arenas.close()
    assert pool.arenas == 0
