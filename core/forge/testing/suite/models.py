"""The tiny live models of the suite, their truth, and how far logits may be from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.errors import BackendUnsupported
from forge.gguf import open_gguf
from forge.graph import Graph, Op
from forge.models import ARCHITECTURES, build_graph
from forge.testing.remote import RemoteBackend, RemoteExecutable
from forge.testing.tiny import write_tiny
from forge.testing.tiny_families import FAMILIES
from forge.testing.truth import Truth, divergence

Array = NDArray[Any]

FLOATS = ("f32", "f16", "bf16")
SPREAD = ("f32", "bf16", "q4_0", "q8_0", "q4_k", "q6_k")
"""Besides F16, what the kinds are tried with."""
FEW = ("q8_0", "q4_k")
"""Besides F16, what every architecture is tried with."""
KINDS = ("llama", "qwen3", "gemma2", "qwen2moe", "gpt-oss", "gpt2")
"""Architectures that have between them all there is: norms of heads, windows and caps, experts of
each kind, sinks, layer norms and learned positions. The others mix the same parts."""
CONTEXT = 96
SIZES: dict[str, Any] = {"width": 256, "ffn": 512, "vocabulary": 320, "context": CONTEXT}
"""Rows of a whole block of every type, and no more."""
INNER = {"expert_feed_forward_length": 256, "expert_shared_feed_forward_length": 512}
"""The same for experts, where an architecture has a word for their size."""

DIVERGENCE = {"f32": 1e-4, "f16": 1e-4, "bf16": 1e-3}
"""KL(truth ‖ backend) in nats, mean over positions: half precision in products and the cache."""
QUANTISED = 1.5e-2
"""With activations in int8: 3e-3 with a scale for 32 of them, 8e-3 with one for 256. What is wrong
beyond the products shows at the bound for F16, where a planted bug costs 2e-2 at least."""


def bound(quant: str) -> float:
    """The most KL divergence from the truth, for weights of this type."""
    return DIVERGENCE.get(quant, QUANTISED)


def distance(model: TinyModel, found: Array) -> float:
    """Mean KL divergence from the truth.

    Where two experts score nearly alike, rounding chooses between them, and int8 rounds enough for
    that to happen: with experts, the tenth of the positions that are farthest away is left out.
    """
    each = [divergence(t[None], f[None]) for t, f in zip(model.logits, found, strict=True)]
    mixed = any(node.op is Op.EXPERTS for node in model.graph.nodes)
    kept = sorted(each)[: len(each) * 9 // 10] if mixed and model.quant not in FLOATS else each
    return float(np.mean(kept))


def least_agreement(quant: str) -> float:
    """The least part of positions with the same most likely token: the rest are near ties."""
    return 0.99 if quant in DIVERGENCE else 0.85


@dataclass(frozen=True, slots=True)
class TinyModel:
    """A model's file, its graph, some tokens, and the logits that follow each of them."""

    architecture: str
    quant: str
    path: Path
    graph: Graph
    tokens: tuple[int, ...]
    logits: Array

    @classmethod
    def make(cls, folder: Path, architecture: str, quant: str) -> TinyModel:
        """Write it, and compute the truth."""
        path = folder / f"{architecture}-{quant}.gguf"
        inner = {key: INNER[key] for key in FAMILIES[architecture].metadata if key in INNER}
        sizes = {**SIZES, "metadata": inner}
        write_tiny(path, architecture, quant=quant, embedding_quant="f16", **sizes)
        random = np.random.default_rng(1)
        tokens = tuple(int(t) for t in random.integers(0, SIZES["vocabulary"], CONTEXT))
        with open_gguf(path) as file:
            graph = build_graph(file, context=CONTEXT)
            truth = Truth(graph, file)
        (logits,) = truth.run({"tokens": tokens}, range(CONTEXT)).values()
        return cls(architecture, quant, path, graph, tokens, logits)

    def on(self, backend: RemoteBackend, graph: Graph | None = None) -> RemoteExecutable:
        """Compiled, with the weights that the backend lacks converted."""
        return backend.compile(backend.converted(graph or self.graph)[0], self.path)

    def unsupported(self, backend: RemoteBackend) -> str:
        """Why the backend cannot run it; "" when it can."""
        try:
            backend.converted(self.graph)
        except BackendUnsupported as error:
            return str(error)
        return ""


def prefill(
    executable: RemoteExecutable, tokens: Sequence[int], start: int = 0, chunk: int = 0
) -> Array:
    """Logits after each token, in chunks of `chunk` or of as much as a run takes."""
    (name,) = (n for n in executable.graph.inputs if n not in ("positions", "slots", "rows"))
    step = min(chunk or executable.chunk, executable.chunk)
    parts = []
    for at in range(0, len(tokens), step):
        part = tokens[at : at + step]
        positions = range(start + at, start + at + len(part))
        (out,) = executable.run({name: part}, list(positions)).values()
        parts.append(out)
    return np.concatenate(parts)


__all__ = [
    "ARCHITECTURES",
    "FEW",
    "FLOATS",
    "KINDS",
    "SPREAD",
    "TinyModel",
    "bound",
    "distance",
    "prefill",
]
