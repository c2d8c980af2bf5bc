"""Random-weight models of every architecture with a spread of weight types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge.testing import write_tiny

TYPES = (
    *("f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"),
    *("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"),
)
"""Those that forge computes from their codes."""

_EXPERTS = {"expert_feed_forward_length": 256}
_ONLY_SHARED = {"expert_shared_feed_forward_length": 256}
_SHARED = {**_EXPERTS, **_ONLY_SHARED}
ARCHITECTURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", {}),
    "gemma3": ("gemma3", {}),
    "phi3": ("phi3", {}),
    "granite": ("granite", {}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {}),
    "starcoder2": ("starcoder2", {}),
    "gpt2": ("gpt2", {}),
    "mixtral": ("llama", {"experts": 4}),
    "qwen2moe": ("qwen2moe", {"metadata": _SHARED}),
    "qwen3moe": ("qwen3moe", {"metadata": _EXPERTS}),
    "granitemoe": ("granitemoe", {"metadata": _ONLY_SHARED}),
    "gpt-oss": ("gpt-oss", {"metadata": _EXPERTS}),
}
"""By name, the architecture as GGUF has it and what `write_tiny` is told beyond sizes."""

EXPERTS = ("mixtral", "qwen2moe", "qwen3moe", "granitemoe", "gpt-oss")
"""Rounding sends a token to another expert now and then, after which nothing compares; each layer
does so, and so these have few."""

_MIXES: tuple[Mapping[str, str], ...] = (
    {},
    {"output_quant": "q6_k"},
    {"embedding_quant": "q8_0", "output_quant": "q8_0"},
)
"""What real files do with the embedding and the output."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the matrix."""

    family: str
    quant: str
    mix: Mapping[str, str]
    seed: int

    @property
    def name(self) -> str:
        """As the table shows it: family, type of the matrices, and of the output if it differs."""
        others = "+".join(sorted({*self.mix.values()} - {self.quant}))
        return f"{self.family} {self.quant}{'+' if others else ''}{others}"

    def write(self, path: Path, context: int) -> Path:
        """The file. Rows are whole super-blocks of 256, as K-quants need."""
        architecture, options = ARCHITECTURES[self.family]
        layers = 2 if self.family in EXPERTS else 4
        sizes: dict[str, Any] = {"width": 256, "ffn": 512, "layers": layers, "head_size": 64}
        sizes |= {"quant": self.quant, "context": context, "seed": self.seed}
        return write_tiny(path, architecture, **{**sizes, **self.mix, **options})


def matrix() -> Iterator[Model]:
    """Three types for each architecture; together they go round all types evenly."""
    for row, family in enumerate(ARCHITECTURES):
        for column, mix in enumerate(_MIXES):
            quant = TYPES[(row + 5 * column) % len(TYPES)]
            yield Model(family, quant, mix, seed=3 * row + column)
