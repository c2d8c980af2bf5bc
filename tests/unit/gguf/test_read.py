"""What is in a file comes out of it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from forge.errors import GGUFError, ModelError
from forge.gguf import Tensor, open_gguf, tensor_type

from .builder import ARRAY, STRING, U64, FileBuilder, array, text, whole_file


@pytest.mark.parametrize("version", [2, 3])
def test_every_kind_of_metadata_is_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "whole.gguf"
    path.write_bytes(whole_file(version).build())
    with open_gguf(path) as file:
        assert (file.path, file.parts, file.version) == (path, (path,), version)
        data = file.metadata
        assert data["general.architecture"] == "llama"
        for name in "BbHhIiQq":
            assert data[f"one.{name}"] == 1
            assert type(data[f"one.{name}"]) is int
        assert [type(data[f"one.{name}"]) for name in "fd?"] == [
            float,
            float,
            bool,
        ]
        dtypes = {"B": "u1", "h": "i2", "I": "u4", "q": "i8", "f": "f4", "?": "?"}
        for name, dtype in dtypes.items():
            values: Any = data[f"many.{name}"]
            assert values.dtype == np.dtype(dtype)
            assert values.tolist() == [0, 1, 1]
            assert not values.flags.writeable
        assert data["tokens"] == ["a", "", "é▁", "\udcff\udc80"]
        nested: Any = data["nested"]
        assert nested[0].tolist() == [7, 8]
        assert nested[1] == ["x"]
        assert nested[2][0].tolist() == [7, 8]


def test_tensors_come_in_order_row_major_and_as_views(tmp_path: Path) -> None:
    path = tmp_path / "whole.gguf"
    built = whole_file().build()
    path.write_bytes(built)
    with open_gguf(path) as file:
        assert list(file.tensors) == ["norm", "weight"]
        weight = file.tensors["weight"]
        assert weight == Tensor("weight", (3, 64), tensor_type("Q4_1"), 120, len(built) - 120, 0)
        view = file.data("weight")
        assert view.shape == (3, 40)
        assert view.dtype == np.uint8
        assert view.tobytes() == bytes(range(120))
        assert not view.flags.writeable
        assert not view.flags.owndata
        assert file.data("norm").view("<f4").tolist() == [1, 2, 3, 4]


def test_what_the_gguf_package_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_token_list(["<s>", "▁the", "\n"])
    writer.add_token_scores([0.0, -1.5, float("-inf")])
    writer.add_tokenizer_pre("smollm")
    experts = rng.standard_normal((2, 3, 64), np.float32)
    writer.add_tensor("experts", experts)
    quantized = gguf.quantize(experts[0], gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open_gguf(path) as file:
        assert file.metadata["general.alignment"] == 64
        assert file.metadata["tokenizer.ggml.tokens"] == ["<s>", "▁the", "\n"]
        scores: Any = file.metadata["tokenizer.ggml.scores"]
        assert scores.tolist() == [0.0, -1.5, float("-inf")]
        np.testing.assert_array_equal(file.data("experts").view("<f4"), experts)
        np.testing.assert_array_equal(file.data("q"), quantized)
        assert file.tensors["q"].shape == (3, 64)


def test_a_file_with_only_a_vocabulary_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(FileBuilder().key("t", ARRAY, array(STRING, [text("a")])).build())
    with open_gguf(path) as file:
        assert not file.tensors
        assert dict(file.metadata) == {"t": ["a"]}


def test_a_file_with_nothing_in_it_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "nothing.gguf"
    path.write_bytes(FileBuilder().build())
    with open_gguf(path) as file:
        assert (dict(file.metadata), dict(file.tensors)) == ({}, {})


def test_empty_arrays_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    file = FileBuilder()
    for code in (STRING, ARRAY, U64):
        file.key(f"e{code}", ARRAY, array(code, []))
    path.write_bytes(file.build())
    with open_gguf(path) as opened:
        assert opened.get("e8", list) == opened.get("e9", list) == []
        assert opened.require("e10", np.ndarray).tolist() == []


def test_typed_access_gives_the_value_or_names_key_place_and_types(tmp_path: Path) -> None:
    path = tmp_path / "whole.gguf"
    path.write_bytes(whole_file().build())
    with open_gguf(path) as file:
        assert file.get("one.I", int) == 1
        assert file.get("one.I", float) == 1.0
        assert type(file.get("one.I", float)) is float
        assert file.get("missing", int) is None
        assert file.require("one.?", bool) is True
        assert file.require("general.architecture", str) == "llama"
        for key, kind, words in [
            ("one.f", int, "is a float, expected an integer"),
            ("one.?", int, "is a bool, expected an integer"),
            ("one.?", float, "is a bool, expected a float"),
            ("one.B", bool, "is an integer, expected a bool"),
            ("tokens", str, "is an array of strings or arrays, expected a string"),
            ("many.B", list, "is an array of numbers, expected an array of strings"),
        ]:
            with pytest.raises(
                GGUFError, match=rf"whole\.gguf: {re.escape(key)} at byte \d+: {words}"
            ):
                file.get(key, kind)
        with pytest.raises(ModelError, match=r"whole\.gguf: the key llama\.x is missing"):
            file.require("llama.x", int)
        with pytest.raises(ModelError, match=r"whole\.gguf: has no tensor nothing"):
            file.data("nothing")


def test_the_default_model_is_read_as_the_gguf_package_reads_it() -> None:
    given = os.environ.get("FORGE_TEST_MODEL")
    if not given:
        pytest.skip("FORGE_TEST_MODEL does not name the default model's file")
    theirs = gguf.GGUFReader(given)
    with open_gguf(given) as file:
        assert list(file.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            ours = file.tensors[tensor.name]
            assert ours.shape == tuple(int(n) for n in reversed(tensor.shape))
            assert (ours.type.name, ours.offset) == (tensor.tensor_type.name, tensor.data_offset)
            assert ours.nbytes == tensor.n_bytes
        last = theirs.tensors[-1]
        assert file.data(last.name).tobytes() == last.data.tobytes()
        fields = {k: v for k, v in theirs.fields.items() if not k.startswith("GGUF.")}
        assert list(file.metadata) == list(fields)
        for key, field in fields.items():
            value: Any = file.metadata[key]
            got = value.tolist() if isinstance(value, np.ndarray) else value
            assert got == field.contents(), key
