"""What a GGUF file says of its model's shape; what it leaves out is read off the tensors.

Key names are those of the GGUF specification (ggml/docs/gguf.md): ARCHITECTURE.block_count, ….
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forge.errors import ModelError, UnsupportedModel
from forge.gguf import GGUFFile

_NO_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")
"""Counters, and types that GGML itself uses only between two ops."""


@dataclass(frozen=True)
class Hyperparameters:
    """Typed access to the metadata of one model; every error names the file and the key."""

    file: GGUFFile

    @cached_property
    def architecture(self) -> str:
        """general.architecture."""
        return self.file.require("general.architecture", str)

    def integer(self, key: str) -> int | None:
        """The integer at ARCHITECTURE.key."""
        return self.file.get(f"{self.architecture}.{key}", int)

    def number(self, key: str) -> float | None:
        """The number at ARCHITECTURE.key."""
        return self.file.get(f"{self.architecture}.{key}", float)

    def flag(self, key: str) -> bool | None:
        """The truth value at ARCHITECTURE.key."""
        return self.file.get(f"{self.architecture}.{key}", bool)

    def text(self, key: str) -> str | None:
        """The string at ARCHITECTURE.key."""
        return self.file.get(f"{self.architecture}.{key}", str)

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """The shape of a tensor, or None without it."""
        found = self.file.tensors.get(tensor)
        return None if found is None else found.shape

    def dimension(self, tensor: str, axis: int, rank: int) -> int | None:
        """A dimension of a tensor of that rank, or None without it."""
        shape = self.shape(tensor)
        return shape[axis] if shape and len(shape) == rank else None

    def readable(self, tensor: str) -> str:
        """A tensor's type in lower case; UnsupportedModel if such numbers are no weights."""
        kind = self.file.tensors[tensor].type.name
        if kind in _NO_WEIGHTS:
            raise UnsupportedModel(
                f"{self.file.path}: tensor {tensor} is of type {kind}, which forge cannot "
                f"read as weights"
            )
        return kind.lower()

    def missing(self, key: str, advice: str = "") -> ModelError:
        """The error for a key that neither the metadata nor the tensors tell."""
        hint = f" {advice}" if advice else ""
        return ModelError(
            f"{self.file.path}: {self.architecture}.{key} is missing and cannot be inferred "
            f"from the tensors.{hint}"
        )

    def count(self, key: str) -> int | None:
        """The integer at ARCHITECTURE.key, which must be positive."""
        value = self.integer(key)
        return None if value is None else self._positive(key, value)

    def _positive(self, key: str, value: int | None, advice: str = "") -> int:
        if value is None:
            raise self.missing(key, advice)
        if not 0 < value < 2**31:
            raise ModelError(f"{self.file.path}: {self.architecture}.{key} is {value}")
        return value

    def agreed(self, key: str, stated: int | None, found: int | None, tensors: str) -> int:
        """What the key states, which must be what the tensors say where they say anything."""
        if stated is not None:
            self._positive(key, stated)
        if stated is not None and found is not None and stated != found:
            raise ModelError(
                f"{self.file.path}: {self.architecture}.{key} is {stated}, "
                f"but {tensors} says {found}"
            )
        return self._positive(key, found if stated is None else stated)

    def _rows(self, tensor: str) -> int | None:
        return self.dimension(tensor, 0, 2)

    @cached_property
    def layers(self) -> int:
        """block_count, or one more than the last `blk.N.` among the tensors."""
        numbers = {int(m[1]) for t in self.file.tensors if (m := re.match(r"blk\.(\d{1,6})\.", t))}
        last = max(numbers, default=None)
        found = None if last is None else last + 1
        return self.agreed("block_count", self.integer("block_count"), found, f"blk.{last}.*")

    @cached_property
    def width(self) -> int:
        """embedding_length, or the columns of token_embd.weight."""
        shape = self.shape("token_embd.weight")
        found = shape[1] if shape and len(shape) == 2 else None
        key = "embedding_length"
        return self.agreed(key, self.integer(key), found, "token_embd.weight")

    @cached_property
    def vocabulary(self) -> int:
        """The rows of token_embd.weight; vocab_size counts where there is no list of tokens."""
        if "token_embd.weight" not in self.file.tensors:
            what = (
                "tensor token_embd.weight is missing"
                if self.file.tensors
                else "there are no weights"
            )
            raise ModelError(f"{self.file.path}: {what}: this file can be tokenized with, not run")
        named = "tokenizer.ggml.tokens" in self.file.metadata
        stated = None if named else self.integer("vocab_size")
        return self.agreed(
            "vocab_size", stated, self._rows("token_embd.weight"), "token_embd.weight"
        )

    @cached_property
    def context(self) -> int | None:
        """context_length: what the model was trained for; learned positions tell it as well."""
        stated, places = self.count("context_length"), "position_embd.weight"
        if places not in self.file.tensors:
            return stated
        return self.agreed("context_length", stated, self._rows(places), places)

    def per_layer(self, key: str, layer: int) -> int | None:
        """An integer that may be one for all layers or an array with one a layer."""
        name = f"{self.architecture}.{key}"
        value = self.file.metadata.get(name)
        if not isinstance(value, np.ndarray):
            return self.integer(key)
        if value.ndim != 1 or value.dtype.kind not in "iu" or len(value) != self.layers:
            raise ModelError(
                f"{self.file.path}: {name} needs {self.layers} integers, one a layer, "
                f"and has {len(value)} of type {value.dtype}"
            )
        return int(value[layer])

    def feed_forward(self, layer: int) -> int:
        """feed_forward_length, or the columns of the layer's ffn_down.weight."""
        key, tensor = "feed_forward_length", f"blk.{layer}.ffn_down.weight"
        found = self.dimension(tensor, 1, 2)
        return self.agreed(key, self.per_layer(key, layer), found, tensor)

    def heads(self, layer: int) -> int:
        """attention.head_count, or the rows of attn_q.weight over a known head size."""
        key, tensor = "attention.head_count", f"blk.{layer}.attn_q.weight"
        stated, rows = self.per_layer(key, layer), self._rows(tensor)
        size = self.count("attention.key_length")
        norm = self.shape(f"blk.{layer}.attn_q_norm.weight")
        if size is None and stated is None and norm is not None and len(norm) == 1:
            size = norm[0] if norm[0] != rows else None  # a norm of the whole row tells nothing
        found = rows // size if size and rows and rows % size == 0 else None
        return self.agreed(key, stated, found, tensor)

    def key_size(self, layer: int) -> int:
        """attention.key_length, or what attn_q.weight has for each head."""
        stated, tensor = self.count("attention.key_length"), f"blk.{layer}.attn_q.weight"
        if stated is not None:
            return stated
        heads, rows = self.heads(layer), self._rows(tensor) or self.width
        if rows % heads:
            raise ModelError(
                f"{self.file.path}: {self.architecture}.attention.head_count is {heads}, "
                f"which does not divide the {rows} rows of {tensor}"
            )
        return rows // heads

    def kv_heads(self, layer: int) -> int:
        """attention.head_count_kv, or the rows of attn_k.weight over the head size."""
        key, tensor = "attention.head_count_kv", f"blk.{layer}.attn_k.weight"
        size, rows, heads = self.key_size(layer), self._rows(tensor), self.heads(layer)
        found = rows // size if rows and rows % size == 0 else None
        stated = self.per_layer(key, layer)
        kv_heads = heads if stated is found is None else self.agreed(key, stated, found, tensor)
        if heads % kv_heads:
            raise ModelError(
                f"{self.file.path}: {self.architecture}.{key} is {kv_heads}, "
                f"which does not divide the {heads} heads"
            )
        return kv_heads

    def value_size(self, layer: int) -> int:
        """attention.value_length, or what attn_v.weight has for each kv head."""
        key, tensor = "attention.value_length", f"blk.{layer}.attn_v.weight"
        rows, kv_heads = self._rows(tensor), self.kv_heads(layer)
        found = rows // kv_heads if rows and rows % kv_heads == 0 else None
        stated = self.integer(key)
        if stated is found is None:
            return self.key_size(layer)
        return self.agreed(key, stated, found, tensor)

    def cap(self, key: str, default: float) -> float:
        """A bound of a smooth cap at ARCHITECTURE.key; 0 is no cap."""
        value = self.number(key)
        value = default if value is None else value
        if not 0 <= value < math.inf:
            raise ModelError(
                f"{self.file.path}: {self.architecture}.{key} is {value}, "
                f"must be finite and not negative"
            )
        return value

    def norm_epsilon(self, key: str) -> float:
        """What keeps a norm from dividing by 0; no shape tells it."""
        value = self.number(key)
        if value is None:
            raise self.missing(key)
        if not 0 <= value < 1:
            raise ModelError(f"{self.file.path}: {self.architecture}.{key} is {value}")
        return value
