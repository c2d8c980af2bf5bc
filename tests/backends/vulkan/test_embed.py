"""Weights of every type are read from their planes bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.vulkan.desk import CHUNK_TOKENS, Desk, rows_of

from forge.testing import random_blocks
from forge.testing.blocks import weight_layout
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.matrices import Matrix
from forge_gpu.steps.embed import embed

RANDOM = np.random.default_rng(6)


def looked_up(desk: Desk, table: Matrix, ids) -> np.ndarray:
    out = desk.nothing(table.k)
    desk.run(len(ids), lambda tape: embed(tape, table, out), np.array(ids))
    return rows_of(out, len(ids))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_row_of_every_type_is_what_gguf_makes_of_it(desk: Desk, kind: str) -> None:
    k = 768 if FORMATS[kind].columns == 256 else 288
    raw = random_blocks(kind, (33, k), std=0.02, random=RANDOM)
    got = looked_up(desk, desk.matrix(kind, raw, k), np.arange(33))
    want = dequantize(raw, kind).astype(np.float32)
    assert np.array_equal(got.view(np.uint32), want.view(np.uint32))


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 33, 127])
def test_numbers_are_read_from_rows_of_any_length(desk: Desk, kind: str, k: int) -> None:
    raw = random_blocks(kind, (7, k), std=1.0, random=RANDOM)
    got = looked_up(desk, desk.matrix(kind, raw, k), np.arange(7))
    assert np.array_equal(got, dequantize(raw, kind).astype(np.float32))


@pytest.mark.parametrize("kind", ["f16", "q6_k"])
def test_ids_choose_rows_of_a_table_in_three_parts_in_any_order(desk: Desk, kind: str) -> None:
    raw = random_blocks(kind, (100, 256), std=1.0, random=RANDOM)
    ids = [99, 0, 64, 63, 33, 32, 99, 1, *RANDOM.integers(0, 100, 57)]
    got = looked_up(desk, desk.matrix(kind, raw, 256, (0, 33, 64)), ids)
    assert np.array_equal(got, dequantize(raw, kind)[ids].astype(np.float32))


def test_special_numbers_stay_what_they_are(desk: Desk) -> None:
    raw = random_blocks("q8_0", (4, 64), std=1.0, random=RANDOM).copy()
    raw[1, :2], raw[2, 34:36] = np.frombuffer(np.array([np.nan, np.inf], "<f2"), "u1").reshape(2, 2)
    got = looked_up(desk, desk.matrix("q8_0", raw, 64), np.arange(4))
    assert np.isnan(got[1, :32]).all()
    assert np.isinf(got[2, 32:][got[2, 32:] == got[2, 32:]]).all()
    assert np.isfinite(got[[0, 3]]).all()
    assert np.isfinite(got[1, 32:]).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_smallest_scales_are_not_lost(desk: Desk, kind: str) -> None:
    """Block scales of small weights are denormal in half precision."""
    k = max(32, FORMATS[kind].columns)
    layout = weight_layout(kind)
    std = 2.0**-19 * layout.power**0.5 if layout else 1e-3
    raw = random_blocks(kind, (2, k), std=std, random=RANDOM)
    got = looked_up(desk, desk.matrix(kind, raw, k), np.arange(2))
    assert np.array_equal(got, dequantize(raw, kind).astype(np.float32))


def test_rows_for_more_tokens_than_a_run_has_stay_as_they_were(desk: Desk) -> None:
    raw = random_blocks("q4_0", (8, 32), std=1.0, random=RANDOM)
    got = looked_up(desk, desk.matrix("q4_0", raw, 32), [5])
    assert len(got) == 1 < CHUNK_TOKENS  # rows_of has looked at the others


def test_positions_choose_rows_as_tokens_do(desk: Desk) -> None:
    raw = random_blocks("f32", (8, 5), std=1.0, random=RANDOM)
    table, out = desk.matrix("f32", raw, 5), desk.nothing(5)
    ids = np.array([*np.zeros(CHUNK_TOKENS, int), 3, 1, 7])  # tokens, then positions
    desk.run(3, lambda tape: embed(tape, table, out, "positions"), ids)
    assert np.array_equal(rows_of(out, 3), dequantize(raw, "f32")[[3, 1, 7]])
