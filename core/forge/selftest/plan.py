"""Small models that together have every op of any model, and every weight type in every place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forge.errors import UsageError

TYPES = (
    *("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"),
    *("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"),
)
"""What people's models are made of."""
ARCHITECTURES = ("llama", "gemma2", "gpt2", "gpt-oss", "granite", "qwen2moe", "phi3")
"""These have all ops of models, in each of their ways: norms, ropes, gates, windows, sinks, …"""
_OF_TYPES = "qwen3moe"
"""Has tables, matrices and experts, so that one model asks for a type in all of them."""
_WIDTH = 256
"""Of its rows: a whole block of any type."""


@dataclass(frozen=True, slots=True)
class Small:
    """One model of the plan: what it is of, and its matrices' type."""

    architecture: str
    quant: str

    @property
    def name(self) -> str:
        """For people."""
        if self.architecture == _OF_TYPES:
            return f"weights of {self.quant}"
        return f"operations of {self.architecture}"

    def write(self, folder: Path) -> Path:
        """Write the file; its weights are random, and the same each time."""
        from forge.testing.tiny import write_tiny

        path = folder / f"{self.architecture}-{self.quant}.gguf"
        if self.architecture != _OF_TYPES:
            return write_tiny(path, self.architecture, quant=self.quant)
        return write_tiny(
            path,
            self.architecture,
            quant=self.quant,
            width=_WIDTH,
            ffn=_WIDTH,
            layers=1,
            metadata={"expert_feed_forward_length": _WIDTH},
        )


def plan(types: Sequence[str] | None = None) -> list[Small]:
    """The models, those of all types first; `types` are the ones to have, in either case.

    A type that there is not is UsageError.
    """
    wanted = [name.lower() for name in types or TYPES]
    if unknown := [name for name in wanted if name not in TYPES]:
        raise UsageError(f"weight types {', '.join(unknown)}: known are {', '.join(TYPES)}")
    small = [Small(_OF_TYPES, quant) for quant in dict.fromkeys(wanted)]
    return small + [Small(name, "f16") for name in ARCHITECTURES]
