"""The table of tensor types agrees with GGML's own."""

from __future__ import annotations

import gguf
import pytest

from forge.errors import UnsupportedModel
from forge.gguf import TENSOR_TYPES, tensor_type
from forge.gguf.types import REMOVED_TYPES


@pytest.mark.parametrize("theirs", gguf.GGMLQuantizationType, ids=lambda kind: kind.name)
def test_every_type_of_the_gguf_package_is_known_with_its_block(
    theirs: gguf.GGMLQuantizationType,
) -> None:
    ours = TENSOR_TYPES[int(theirs)]
    assert (ours.code, ours.name) == (int(theirs), theirs.name)
    assert (ours.block_size, ours.block_bytes) == gguf.GGML_QUANT_SIZES[theirs]


def test_a_removed_code_is_not_reused() -> None:
    assert not REMOVED_TYPES.keys() & TENSOR_TYPES.keys()
    assert not REMOVED_TYPES.keys() & {int(kind) for kind in gguf.GGMLQuantizationType}


def test_a_type_is_found_by_its_name_in_either_case() -> None:
    assert tensor_type("q4_1") is tensor_type("Q4_1") is TENSOR_TYPES[3]
    assert tensor_type("q4_1").row_bytes(64) == 40


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnsupportedModel, match=r"'q9_z'.*Q4_K"):
        tensor_type("q9_z")
