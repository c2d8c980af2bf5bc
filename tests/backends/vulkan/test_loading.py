"""Weights come from the file onto the device as they are, in bounded pieces, or not at all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.backends.stored import Stored, placed, planes_of, stored
from tests.backends.vulkan.desk import Desk

from forge.backend import BackendOutOfMemory
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.loading import Loaded
from forge_gpu.matrices import Matrix
from forge_gpu.memory import Region
from forge_gpu.placing import Placement
from forge_vulkan.loading import load


def brought(desk: Desk, weights, placement=None, progress=lambda *_: None, **options) -> Loaded:
    return load(
        desk.kernels, desk.queue, weights, placement or placed(weights), progress, **options
    )


def bytes_of(desk: Desk, region: Region) -> np.ndarray:
    """By way of the device, also where the host does not see it."""
    target = desk.array(np.zeros(region.size, np.uint8))
    desk.record(lambda recording: recording.copy(region, target))
    return np.array(target.view(np.uint8))


def same(desk: Desk, matrix: Matrix, weight: Stored) -> None:
    """Every byte of every plane."""
    form = matrix.format
    assert sum(part.rows for part in matrix.parts) == matrix.n
    for part in matrix.parts:
        blocks = weight.blocks[part.first : part.first + part.rows]
        want = planes_of(matrix.kind, blocks, matrix.k)
        got = bytes_of(desk, part.region)
        starts = form.layout(part.rows, matrix.k).starts
        for plane, start, there in zip(form.planes, starts, part.planes, strict=False):
            size = blocks.size // form.size * plane.size
            ours = got[16 * there : 16 * there + size]
            assert np.array_equal(ours, want[16 * start : 16 * start + size])


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
def test_weights_of_every_type_arrive_in_their_planes(desk: Desk, kind: str, direct: bool) -> None:
    k = 3 * FORMATS[kind].columns if FORMATS[kind].quantised else 37
    weights = {"w": stored(kind, 33, k)}
    loaded = brought(desk, weights, direct=direct)
    same(desk, loaded.matrices["w"], weights["w"])
    loaded.close()


@pytest.mark.parametrize("kind", ["mxfp4", "q6_k", "f16", "q4_0"])
def test_a_weight_larger_than_the_ring_goes_in_pieces_with_a_beat_each(
    desk: Desk, kind: str
) -> None:
    weights = {"a": stored(kind, 700, 512), "b": stored(kind, 3, 512)}
    beats = []
    loaded = brought(desk, weights, None, lambda *beat: beats.append(beat), step=40_000)
    for name, weight in weights.items():
        same(desk, loaded.matrices[name], weight)
        assert weight.released == weight.asked == 1
    pieces = -(-weights["a"].blocks.nbytes // 40_000)
    assert len([beat for beat in beats if beat[3:] == ("a",)]) >= pieces
    assert beats[-1] == ("load", 2, 2, "b")
    loaded.close()


def test_a_matrix_larger_than_a_binding_is_split_by_rows(desk: Desk) -> None:
    weights = {"w": stored("q4_k", 100, 512)}
    placement = placed(weights, binding=12_000, allocation=40_000)
    loaded = brought(desk, weights, placement)
    matrix = loaded.matrices["w"]
    assert len(matrix.parts) > 2
    assert all(part.region.size <= 12_000 for part in matrix.parts)
    assert [part.first for part in matrix.parts] == list(
        np.cumsum([0, *(part.rows for part in matrix.parts[:-1])])
    )
    same(desk, matrix, weights["w"])
    loaded.close()


def test_arenas_are_no_larger_than_an_allocation_may_be() -> None:
    weights = {f"w{n}": stored("q8_0", n + 1, 64) for n in range(100)}
    placement = placed(weights, allocation=16_384)
    assert len(placement.arenas) > 1
    assert max(placement.arenas) <= 16_384
    regions = sorted((p.arena, p.start, p.size) for w in placement.weights for p in w.places)
    for (arena, start, size), (following, next_start, _) in pairwise(regions):
        assert arena < following or start + size <= next_start
    for arena, start, size in regions:
        assert start + size <= placement.arenas[arena]


def test_a_row_that_no_binding_covers_is_refused_with_both_sizes() -> None:
    with pytest.raises(BackendOutOfMemory, match=r"row of 4096 .* Q8_0 .* 1024 bytes"):
        placed({"w": stored("q8_0", 2, 4096)}, binding=1024)


def test_tied_weights_are_loaded_once_and_ranges_of_rows_are_weights_of_their_own(
    desk: Desk,
) -> None:
    table = stored("q6_k", 20, 256, tensor="token_embd")
    upper = stored("q6_k", 6, 256, tensor="token_embd", rows=(14, 20))
    upper.blocks = table.blocks
    weights = {"embed": table, "output": table, "upper": upper}
    loaded = brought(desk, weights)
    assert table.asked == 1
    ours = [loaded.matrices[name].parts[0].region for name in ("embed", "output", "upper")]
    assert ours[0].meets(ours[1])
    assert not ours[0].meets(ours[2])
    same(desk, loaded.matrices["output"], table)
    same(desk, loaded.matrices["upper"], Stored(upper.spec, table.blocks[14:20]))
    loaded.close()


def test_experts_are_one_matrix_of_all_their_rows(desk: Desk) -> None:
    weights = {"up": stored("mxfp4", 5, 7, 64)}
    loaded = brought(desk, weights)
    matrix = loaded.matrices["up"]
    assert (matrix.experts, matrix.rows, matrix.n) == (5, 7, 35)
    same(desk, matrix, weights["up"])
    loaded.close()


def test_matrices_that_belong_together_share_a_region_if_they_fit(desk: Desk) -> None:
    weights = {"gate": stored("q4_k", 33, 256), "x": stored("f16", 3, 5)}
    weights["up"] = stored("q6_k", 21, 256)
    loaded = brought(desk, weights, placed(weights, together=[("gate", "up")]))
    gate, up = (loaded.matrices[name].parts[0] for name in ("gate", "up"))
    assert (gate.region.offset, gate.region.size) == (up.region.offset, up.region.size)
    for name, weight in weights.items():
        same(desk, loaded.matrices[name], weight)
    loaded.close()
    apart = placed(weights, binding=8_000, together=[("gate", "up")])
    loaded = brought(desk, weights, apart)
    gate, up = (loaded.matrices[name].parts[0] for name in ("gate", "up"))
    assert not gate.region.meets(up.region)
    loaded.close()


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_vectors_become_float32(desk: Desk, kind: str) -> None:
    weights = {"norm": stored(kind, 33), "bias": stored(kind, 7)}
    loaded = brought(desk, weights)
    for name, weight in weights.items():
        got = bytes_of(desk, loaded.vectors[name]).view(np.float32)
        assert np.array_equal(got, dequantize(weight.blocks, kind).astype(np.float32).ravel())
    loaded.close()


def test_an_exception_in_the_middle_gives_everything_back(desk: Desk) -> None:
    """Hundreds of loads that fail leave room for one that does not: all was given back."""
    weights = {"a": stored("q4_0", 64, 64), "b": stored("q4_0", 64, 64)}
    placement = placed(weights)
    big = Placement(placement.weights, (256 << 20,))

    def stop(phase, done, total, detail=""):
        if detail == "b":
            raise KeyboardInterrupt

    for _ in range(40):  # 10 GiB, did each keep its own
        with pytest.raises(KeyboardInterrupt):
            brought(desk, weights, big, stop)
    before = open_memory()
    with pytest.raises(KeyboardInterrupt):
        brought(desk, weights, big, stop)
    assert open_memory() - before < 64 << 20
    brought(desk, weights).close()


def open_memory() -> int:
    """Bytes of address space that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * 4096
