"""Random blocks: valid weights of the promised size in which every part of a format is in use."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest

from forge.errors import UsageError
from forge.gguf.types import TENSOR_TYPES, tensor_type
from forge.testing import WEIGHT_TYPES, random_blocks

Array = np.ndarray[Any, Any]
NUMBERS = ("f32", "f16", "bf16")
BLOCKED = tuple(kind for kind in WEIGHT_TYPES if kind not in NUMBERS)
MINIMUM = ("q4_1", "q5_1", "q2_k", "q4_k", "q5_k")
TERNARY = ("tq1_0", "tq2_0")


def drawn(kind: str, shape: tuple[int, ...], std: float = 0.1, seed: int = 0) -> Array:
    return random_blocks(kind, shape, std=std, random=np.random.default_rng(seed))


def decoded(kind: str, rows: Array) -> Array:
    return np.asarray(gguf.dequantize(rows, gguf.GGMLQuantizationType[kind.upper()]))


def one_block_each(kind: str, count: int, seed: int = 0) -> Array:
    return drawn(kind, (count, tensor_type(kind).block_size), seed=seed)


def readable(name: str) -> bool:
    form = tensor_type(name)
    rows = np.zeros((1, form.block_bytes), np.uint8)
    try:
        return bool(decoded(name, rows).dtype == np.float32)
    except NotImplementedError:
        return False


def test_the_types_are_all_that_can_be_read_in_ggml_s_order() -> None:
    known = [TENSOR_TYPES[code].name for code in sorted(TENSOR_TYPES)]
    assert list(WEIGHT_TYPES) == [name.lower() for name in known if readable(name)]


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
def test_the_weights_are_finite_of_mean_0_and_of_the_size_asked_for(kind: str) -> None:
    rows = drawn(kind, (2, 256, 1024))
    assert rows.dtype == np.uint8
    assert rows.shape == (2, 256, tensor_type(kind).row_bytes(1024))
    weights = decoded(kind, rows).astype(np.float64)
    assert weights.shape == (2, 256, 1024)
    assert np.isfinite(weights).all()
    assert abs(weights.mean()) <= 0.03 * 0.1
    assert weights.std() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("std", [0.02, 1.0, 5.0])
@pytest.mark.parametrize("kind", WEIGHT_TYPES)
def test_small_and_large_weights_have_their_size_too(kind: str, std: float) -> None:
    weights = decoded(kind, drawn(kind, (128, 1024), std)).astype(np.float64)
    assert weights.std() == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize("kind", BLOCKED)
def test_every_byte_takes_evenly_every_value_that_a_file_can_hold(kind: str) -> None:
    whole = {"q8_0": {255, 256}, "tq1_0": {243, 81, 256}, "tq2_0": {81, 256}}.get(kind, {256})
    narrow = 0
    for column in one_block_each(kind, 1 << 13).T:
        count = np.bincount(column, minlength=256)
        used = count[count > 0]
        assert len(used) >= 2
        narrow += len(used) not in whole or used.min() < 0.25 * used.mean()
    # The upper bytes of scales and minima, whose range is the size asked for.
    assert narrow == {"nvfp4": 4, "iq1_m": 2}.get(kind, 2 if kind in MINIMUM else 1)


@pytest.mark.parametrize("kind", BLOCKED)
def test_every_bit_changes_the_weights(kind: str) -> None:
    samples, size = 16, tensor_type(kind).block_bytes
    blocks = one_block_each(kind, samples)
    flips = np.packbits(np.eye(8 * size, dtype=np.uint8), axis=1)
    changed = decoded(kind, blocks ^ flips[:, None]) != decoded(kind, blocks)
    matters = changed.any(axis=2).mean(axis=1).reshape(size, 8)
    if kind == "nvfp4":
        matters[:4, 0] = 1.0  # the sign of an unsigned scale, and nothing else
    # 256 byte values stand for 243 or 81 of ternary digits: a last bit changes few of them.
    assert matters.min() >= (1 / samples if kind == "tq1_0" else 0.5)


@pytest.mark.parametrize("kind", BLOCKED)
def test_the_scales_differ_from_block_to_block(kind: str) -> None:
    weights = decoded(kind, one_block_each(kind, 2000)).astype(np.float64)
    low, high = np.percentile(np.sqrt((weights**2).mean(axis=1)), [10, 90])
    assert 1.4 <= high / low <= (4.5 if kind == "mxfp4" else 2.5)  # whose scales are powers of 2


@pytest.mark.parametrize("kind", TERNARY)
def test_ternary_blocks_are_those_that_a_quantiser_writes(kind: str) -> None:
    blocks = one_block_each(kind, 500)
    weights = decoded(kind, blocks)
    assert all(len(np.unique(row)) == 3 for row in weights)
    again = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[kind.upper()])
    assert (again == blocks).all()


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
def test_the_generator_decides_the_blocks(kind: str) -> None:
    assert (drawn(kind, (4, 256), seed=1) == drawn(kind.upper(), (4, 256), seed=1)).all()
    assert (drawn(kind, (4, 256), seed=1) != drawn(kind, (4, 256), seed=2)).any()


@pytest.mark.parametrize(
    ("kind", "shape", "std", "message"),
    [
        ("q9_9", (4, 256), 0.1, "q9_9"),
        ("q8_k", (4, 256), 0.1, "q8_k"),
        ("i8", (4, 256), 0.1, "i8"),
        ("q4_k", (4, 128), 0.1, "blocks of 256"),
        ("q4_0", (4, 40), 0.1, "blocks of 32"),
        ("q4_0", (), 0.1, "at least one row"),
        ("q4_0", (0, 32), 0.1, "at least one row"),
        ("q4_0", (-1, 32), 0.1, "at least one row"),
        ("q4_0", (1, 32), 0.0, "std is 0.0"),
        ("q4_0", (1, 32), -1.0, "std is -1.0"),
        ("f32", (1, 32), float("nan"), "std is nan"),
        ("f32", (1, 32), float("inf"), "std is inf"),
        ("f16", (1, 32), 1e6, "F16 allows"),
        ("q6_k", (1, 256), 1e-6, "Q6_K allows"),
        ("nvfp4", (1, 64), 1e-3, "NVFP4 allows"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    kind: str, shape: tuple[int, ...], std: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        drawn(kind, shape, std)


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
def test_the_sizes_that_are_named_as_allowed_are(kind: str) -> None:
    with pytest.raises(UsageError) as refused:
        drawn(kind, (64, 256), 0.0)
    words = str(refused.value).split()
    for std in (float(words[-3]) * 1.05, float(words[-1]) * 0.95):
        weights = decoded(kind, drawn(kind, (64, 256), std)).astype(np.float64)
        assert np.isfinite(weights).all()
        assert weights.std() == pytest.approx(std, rel=0.15)
