"""What a GGUF file says of its model's shape; what it leaves out is read off the tensors.

Key names are those of the GGUF specification (ggml/docs/gguf.md): ARCHITECTURE.block_count, ….
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forge.errors import ModelError
from forge.gguf import GGUFFile


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

    def text(self, key: str) -> str | None:
        """The string at ARCHITECTURE.key."""
        return self.file.get(f"{self.architecture}.{key}", str)

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """The shape of a tensor, or None without it."""
        found = self.file.tensors.get(tensor)
        return None if found is None else found.shape

    def missing(self, key: str, advice: str = "") -> ModelError:
        """The error for a key that neither the metadata nor the tensors tell."""
        hint = f" {advice}" if advice else ""
        return ModelError(
            f"{self.file.path}: {self.architecture}.{key} is missing and cannot be inferred "
            f"from the tensors.{hint}"
        )

    def _positive(self, key: str, value: int | None, advice: str = "") -> int:
        if value is None:
            raise self.missing(key, advice)
        if not 0 < value < 2**31:
            raise ModelError(f"{self.file.path}: {self.architecture}.{key} is {value}")
        return value

    @cached_property
    def layers(self) -> int:
        """block_count, or one more than the last `blk.N.` among the tensors."""
        numbers = {int(m[1]) for t in self.file.tensors if (m := re.match(r"blk\.(\d{1,6})\.", t))}
        inferred = max(numbers) + 1 if numbers else None
        stated = self.integer("block_count")
        return self._positive("block_count", inferred if stated is None else stated)

    @cached_property
    def width(self) -> int:
        """embedding_length, or the columns of token_embd.weight."""
        shape = self.shape("token_embd.weight")
        stated = self.integer("embedding_length")
        inferred = shape[1] if shape and len(shape) == 2 else None
        return self._positive("embedding_length", inferred if stated is None else stated)

    @cached_property
    def vocabulary(self) -> int:
        """The rows of token_embd.weight, else vocab_size, else the number of tokens."""
        shape = self.shape("token_embd.weight")
        if shape and len(shape) == 2:
            return shape[0]
        stated = self.integer("vocab_size")
        tokens = self.file.metadata.get("tokenizer.ggml.tokens")
        inferred = len(tokens) if isinstance(tokens, list) else None
        return self._positive("vocab_size", inferred if stated is None else stated)

    @cached_property
    def context(self) -> int | None:
        """context_length: what the model was trained for."""
        stated = self.integer("context_length")
        return None if stated is None else self._positive("context_length", stated)

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
        """feed_forward_length, or the rows of the layer's ffn_up.weight."""
        shape = self.shape(f"blk.{layer}.ffn_up.weight")
        stated = self.per_layer("feed_forward_length", layer)
        inferred = shape[0] if shape and len(shape) == 2 else None
        return self._positive("feed_forward_length", inferred if stated is None else stated)

    def heads(self, layer: int) -> int:
        """attention.head_count, or the rows of attn_q.weight over a known head size."""
        stated = self.per_layer("attention.head_count", layer)
        if stated is None:
            size, shape = self._stated_head_size(layer), self.shape(f"blk.{layer}.attn_q.weight")
            if size and shape and shape[0] % size == 0:
                stated = shape[0] // size
        return self._positive("attention.head_count", stated)

    def _stated_head_size(self, layer: int) -> int | None:
        """The head size, from a key or a tensor that holds nothing else."""
        norm = self.shape(f"blk.{layer}.attn_q_norm.weight")
        return self.integer("attention.key_length") or (norm[0] if norm else None)

    def key_size(self, layer: int) -> int:
        """attention.key_length, or what attn_q.weight has for each head."""
        stated = self._stated_head_size(layer)
        if stated is None:
            shape, heads = self.shape(f"blk.{layer}.attn_q.weight"), self.heads(layer)
            total = shape[0] if shape else self.width
            stated = total // heads if total % heads == 0 else None
        return self._positive("attention.key_length", stated)

    def kv_heads(self, layer: int) -> int:
        """attention.head_count_kv, or the rows of attn_k.weight over the head size."""
        stated = self.per_layer("attention.head_count_kv", layer)
        if stated is None:
            shape, size = self.shape(f"blk.{layer}.attn_k.weight"), self.key_size(layer)
            stated = shape[0] // size if shape and shape[0] % size == 0 else self.heads(layer)
        return self._positive("attention.head_count_kv", stated)

    def value_size(self, layer: int) -> int:
        """attention.value_length, or what attn_v.weight has for each kv head."""
        stated = self.integer("attention.value_length")
        if stated is None:
            shape, heads = self.shape(f"blk.{layer}.attn_v.weight"), self.kv_heads(layer)
            even = shape and shape[0] % heads == 0
            stated = shape[0] // heads if shape and even else self.key_size(layer)
        return self._positive("attention.value_length", stated)

    def norm_epsilon(self) -> float:
        """attention.layer_norm_rms_epsilon; no shape tells it."""
        key = "attention.layer_norm_rms_epsilon"
        value = self.number(key)
        if value is None:
            raise self.missing(key)
        if not 0 <= value < 1:
            raise ModelError(f"{self.file.path}: {self.architecture}.{key} is {value}")
        return value
