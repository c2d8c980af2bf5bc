"""Weights as a backend sees them: every type, any rows, converted where asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from forge.backend import BackendConfig
from forge.errors import BackendUnsupported, UnsupportedModel
from forge.gguf import TENSOR_TYPES, GGUFFile, open_gguf
from forge.graph import TOKENS, Graph, Node, Op, TensorSpec, WeightSpec
from forge.weights import Weight, Weights
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
TYPES = [kind.name for kind in TENSOR_TYPES.values()]


def blocks(kind: str, *shape: int, seed: int = 0) -> Array:
    """Any bytes are blocks of any type."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    row = shape[-1] // block * size
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (*shape[:-1], row), np.uint8)


def write(folder: Path, **tensors: tuple[str, Array]) -> GGUFFile:
    writer = gguf.GGUFWriter(folder / "w.gguf", "llama")
    for name, (kind, rows) in tensors.items():
        writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_gguf(folder / "w.gguf")


def expected(kind: str, rows: Array) -> Array | None:
    """What the gguf package makes of it, None for a type that it cannot read."""
    quant = gguf.GGMLQuantizationType[kind]
    flat = rows.reshape(-1, rows.shape[-1])
    flat = flat.view({"F32": np.float32, "F16": np.float16}.get(kind, np.uint8))
    try:
        with np.errstate(all="ignore"):  # random scales overflow
            return np.asarray(gguf.dequantize(flat, quant), np.float32)
    except NotImplementedError:
        return None


def weight(file: GGUFFile, *shape: int, dtype: str, rows: tuple[int, int] | None = None) -> Weight:
    return Weight(WeightSpec("w", shape, dtype, rows), file)


def test_the_gguf_package_reads_most_types() -> None:
    read = [kind for kind in TYPES if expected(kind, blocks(kind, 2, 512)) is not None]
    assert len(read) >= 24
    assert {"F32", "F16", "BF16", "Q4_K", "Q6_K", "IQ2_S", "MXFP4", "TQ1_0"} <= set(read)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_dense_as_the_gguf_package_has_it_or_refused(
    kind: str, tmp_path: Path
) -> None:
    rows = blocks(kind, 5, 512)
    file = write(tmp_path, w=(kind, rows))
    w = weight(file, 5, 512, dtype=kind.lower())
    np.testing.assert_array_equal(w.raw(), rows)
    truth = expected(kind, rows)
    if truth is None:
        with pytest.raises(UnsupportedModel, match=rf"w\.gguf: tensor w: .* type {kind}$"):
            w.dense()
        return
    with np.errstate(all="ignore"):
        dense = w.dense()
        part = weight(file, 2, 512, dtype=kind.lower(), rows=(1, 3))
        np.testing.assert_array_equal(part.dense(), truth[1:3])
    assert dense.dtype == np.float32
    np.testing.assert_array_equal(dense, truth)
    np.testing.assert_array_equal(part.raw(), rows[1:3])


@pytest.mark.parametrize("kind", ["Q8_0", "F16"])
def test_experts_keep_their_three_dimensions(kind: str, tmp_path: Path) -> None:
    rows = blocks(kind, 4, 3, 64)
    file = write(tmp_path, w=(kind, rows))
    truth = expected(kind, rows)
    assert truth is not None
    truth = truth.reshape(4, 3, 64)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(weight(file, 4, 3, 64, dtype=kind.lower()).dense(), truth)
        part = weight(file, 2, 3, 64, dtype=kind.lower(), rows=(2, 4))
        np.testing.assert_array_equal(part.dense(), truth[2:4])


def test_a_matrix_may_be_seen_as_the_only_expert(tmp_path: Path) -> None:
    rows = blocks("Q8_0", 3, 64)
    file = write(tmp_path, w=("Q8_0", rows))
    truth = expected("Q8_0", rows)
    seen = weight(file, 1, 3, 64, dtype="q8_0")
    np.testing.assert_array_equal(seen.raw(), rows[None])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(seen.dense(), np.asarray(truth)[None])


@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_a_range_of_a_vector_is_a_range_of_its_numbers(kind: str, tmp_path: Path) -> None:
    values = np.arange(12).astype({"F32": np.float32, "F16": np.float16}[kind])
    file = write(tmp_path, w=(kind, values.view(np.uint8)))
    part = weight(file, 5, dtype=kind.lower(), rows=(4, 9))
    np.testing.assert_array_equal(part.dense(), values[4:9])
    np.testing.assert_array_equal(part.raw(), values[4:9].view(np.uint8))
    as_row = weight(file, 1, 12, dtype=kind.lower())
    np.testing.assert_array_equal(as_row.dense(), values[None])


def test_a_vector_is_one_row(tmp_path: Path) -> None:
    values = np.arange(7, dtype=np.float32)
    file = write(tmp_path, w=("F32", values.view(np.uint8)))
    np.testing.assert_array_equal(weight(file, 7, dtype="f32").dense(), values)
    np.testing.assert_array_equal(weight(file, 7, dtype="f32").dense(np.float64), values)


def test_a_large_tensor_is_made_in_parts_that_fit_together(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((2500, 1024), np.float32)
    rows = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    file = write(tmp_path, w=("Q8_0", rows))
    np.testing.assert_array_equal(
        weight(file, 2500, 1024, dtype="q8_0").dense(), expected("Q8_0", rows)
    )


def test_the_mapped_bytes_are_not_copied_and_come_back_after_release(tmp_path: Path) -> None:
    rows = blocks("Q4_0", 5, 64)
    w = weight(write(tmp_path, w=("Q4_0", rows)), 5, 64, dtype="q4_0")
    assert np.shares_memory(w.raw(), w.raw())
    assert not w.raw().flags.writeable
    w.release()
    np.testing.assert_array_equal(w.raw(), rows)


@pytest.mark.parametrize(("asked", "numpy"), [("f16", np.float16), ("f32", np.float32)])
def test_a_converted_weight_is_the_nearest_number_in_bytes_and_dense(
    asked: str, numpy: Any, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).standard_normal((6, 64), np.float32)
    rows = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q5_1)
    file = write(tmp_path, w=("Q5_1", rows))
    truth = expected("Q5_1", rows)
    assert truth is not None
    for part, wanted in ((None, truth), ((2, 5), truth[2:5])):
        w = weight(file, len(wanted), 64, dtype=asked, rows=part)
        raw = w.raw()
        assert raw.dtype == np.uint8
        assert raw.shape == (len(wanted), 64 * np.dtype(numpy).itemsize)
        np.testing.assert_array_equal(raw.view(numpy), wanted.astype(numpy))
        np.testing.assert_array_equal(w.dense(), wanted.astype(numpy).astype(np.float32))


def test_numbers_too_large_for_a_conversion_are_the_backends_lack_and_named(tmp_path: Path) -> None:
    values = np.full((2, 32), 70000, np.float32)
    values[1] = 1
    rows = gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16)
    file = write(tmp_path, w=("BF16", rows))
    for use in (Weight.raw, Weight.dense):
        with pytest.raises(BackendUnsupported, match=r"w\.gguf: tensor w .* F16.* BF16"):
            use(weight(file, 2, 32, dtype="f16"))
    assert weight(file, 2, 32, dtype="f32").dense().max() > 69000
    assert weight(file, 1, 32, dtype="f16", rows=(1, 2)).dense().max() == 1


def test_rows_of_one_fused_tensor_serve_as_three_weights(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((12, 32), np.float32)
    rows = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    file = write(tmp_path, qkv=("Q8_0", rows))
    parts = {"q": (0, 6), "k": (6, 9), "v": (9, 12), "again": (6, 9)}
    graph = Graph(
        {"x": TensorSpec((TOKENS, 32))},
        {n: WeightSpec("qkv", (b - a, 32), "q8_0", (a, b)) for n, (a, b) in parts.items()},
        {},
        tuple(Node(f"x_{n}", Op.MATMUL, ("x", n)) for n in parts),
        tuple(f"x_{n}" for n in parts),
    )
    assert len(graph.distinct_weights()) == 3
    backend = NumpyBackend(BackendConfig(threads=1))
    executable = backend.compile(graph, Weights(graph, file), lambda *_: None)
    x = np.random.default_rng(1).standard_normal((3, 32), np.float32)
    nothing = np.zeros(3, np.int32)
    out = executable.run({"x": x}, nothing, nothing, "all")
    truth = expected("Q8_0", rows)
    assert truth is not None
    for name, (start, stop) in parts.items():
        np.testing.assert_allclose(out[f"x_{name}"], x @ truth[start:stop].T, rtol=1e-5, atol=1e-5)


def test_a_graphs_weights_are_a_mapping_by_its_names(tmp_path: Path) -> None:
    file = write(tmp_path, w=("F32", blocks("F32", 2, 4)))
    spec = WeightSpec("w", (2, 4), "f32")
    graph = Graph({}, {"one": spec, "two": spec}, {}, (), ())
    weights = Weights(graph, file)
    assert list(weights) == ["one", "two"]
    assert len(weights) == 2
    assert weights["two"].spec is spec
