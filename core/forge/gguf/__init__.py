"""Read GGUF files: memory-mapped, every field checked before it is used.

with open_gguf("model.gguf") as file:
    file.metadata["general.architecture"], file.tensors["output.weight"].shape
    file.data("output.weight")  # a read-only uint8 view, one row of blocks per row
"""

from __future__ import annotations

from forge.gguf.file import GGUFFile, open_gguf
from forge.gguf.metadata import Metadata
from forge.gguf.tensors import Tensor
from forge.gguf.types import TENSOR_TYPES, TensorType, tensor_type

__all__ = [
    "TENSOR_TYPES",
    "GGUFFile",
    "Metadata",
    "Tensor",
    "TensorType",
    "open_gguf",
    "tensor_type",
]
