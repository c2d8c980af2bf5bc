"""The tensor types of GGML: code, name, weights per block, bytes per block.

Kept here so that the host never imports the slow `gguf` package for it; a test compares every line
with `gguf.GGMLQuantizationType` and `gguf.GGML_QUANT_SIZES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from forge.errors import UnsupportedModel


@dataclass(frozen=True, slots=True)
class TensorType:
    """How the weights of a tensor are stored: `block_size` of them in `block_bytes` bytes."""

    code: int
    name: str
    block_size: int
    block_bytes: int

    def row_bytes(self, length: int) -> int:
        """Bytes of a row of `length` weights, which must be whole blocks."""
        return length // self.block_size * self.block_bytes


_TABLE = (
    TensorType(0, "F32", 1, 4),
    TensorType(1, "F16", 1, 2),
    TensorType(2, "Q4_0", 32, 18),
    TensorType(3, "Q4_1", 32, 20),
    TensorType(6, "Q5_0", 32, 22),
    TensorType(7, "Q5_1", 32, 24),
    TensorType(8, "Q8_0", 32, 34),
    TensorType(9, "Q8_1", 32, 40),
    TensorType(10, "Q2_K", 256, 84),
    TensorType(11, "Q3_K", 256, 110),
    TensorType(12, "Q4_K", 256, 144),
    TensorType(13, "Q5_K", 256, 176),
    TensorType(14, "Q6_K", 256, 210),
    TensorType(15, "Q8_K", 256, 292),
    TensorType(16, "IQ2_XXS", 256, 66),
    TensorType(17, "IQ2_XS", 256, 74),
    TensorType(18, "IQ3_XXS", 256, 98),
    TensorType(19, "IQ1_S", 256, 50),
    TensorType(20, "IQ4_NL", 32, 18),
    TensorType(21, "IQ3_S", 256, 110),
    TensorType(22, "IQ2_S", 256, 82),
    TensorType(23, "IQ4_XS", 256, 136),
    TensorType(24, "I8", 1, 1),
    TensorType(25, "I16", 1, 2),
    TensorType(26, "I32", 1, 4),
    TensorType(27, "I64", 1, 8),
    TensorType(28, "F64", 1, 8),
    TensorType(29, "IQ1_M", 256, 56),
    TensorType(30, "BF16", 1, 2),
    TensorType(34, "TQ1_0", 256, 54),
    TensorType(35, "TQ2_0", 256, 66),
    TensorType(39, "MXFP4", 32, 17),
    TensorType(40, "NVFP4", 64, 36),
    TensorType(41, "Q1_0", 128, 18),
)

TENSOR_TYPES: Mapping[int, TensorType] = MappingProxyType({t.code: t for t in _TABLE})
"""Every known tensor type by its code in a file."""

REMOVED_TYPES: Mapping[int, str] = MappingProxyType(
    {
        4: "Q4_2",
        5: "Q4_3",
        31: "Q4_0_4_4",
        32: "Q4_0_4_8",
        33: "Q4_0_8_8",
        36: "IQ4_NL_4_4",
        37: "IQ4_NL_4_8",
        38: "IQ4_NL_8_8",
    }
)
"""Codes that GGML once gave out and took back (the comments in `enum ggml_type`, ggml.h)."""

_BY_NAME = {t.name: t for t in _TABLE}


def tensor_type(name: str) -> TensorType:
    """The type called `name`, in either case: `tensor_type("q4_1")`."""
    found = _BY_NAME.get(name.upper())
    if found is None:
        raise UnsupportedModel(f"no tensor type is called {name!r}; known: {', '.join(_BY_NAME)}")
    return found
