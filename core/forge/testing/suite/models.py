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
from forge.models import build_graph
from forge.sampling import Sampler, SamplingParams
from forge.testing.remote import RemoteBackend, RemoteExecutable
from forge.testing.tiny import write_tiny
from forge.testing.tiny_families import FAMILIES
from forge.testing.truth import Truth, divergence

Array = NDArray[Any]

FLOATS = ("f32", "f16", "bf16")
SPREAD = ("f32", "bf16", "q4_0", "q8_0", "q4_k", "q6_k")
"""Besides F16, what architectures are tried with."""
FEW = ("q4_0", "q4_k")
"""Less of it, where there are many."""
CONTEXT = 96
EDGES = 2
"""Of 24 tokens that were drawn, those that rounding may move over the edge between two."""
SIZES: dict[str, Any] = {
    "width": 256,
    "ffn": 512,
    "layers": 2,
    "vocabulary": 320,
    "context": CONTEXT,
}
"""Rows of a whole block of every type, and no more."""
EXPERTS = ("expert_feed_forward_length", "expert_shared_feed_forward_length")
"""Of experts as well."""

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

    Where two experts score nearly alike, rounding chooses between them: positions that are farthest
    away are left out, as many as `model.spared`.
    """
    each = [divergence(t[None], f[None]) for t, f in zip(model.logits, found, strict=True)]
    return float(np.mean(sorted(each)[: len(each) - model.spared(len(each))]))


def least_agreement(quant: str) -> float:
    """The least part of positions with the same most likely token: the rest are near ties."""
    return 0.98 if quant in DIVERGENCE else 0.85


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
        metadata = {key: 256 for key in EXPERTS if key in FAMILIES[architecture].metadata}
        write_tiny(
            path, architecture, quant=quant, embedding_quant="f16", metadata=metadata, **SIZES
        )
        random = np.random.default_rng(1)
        tokens = tuple(int(t) for t in random.integers(0, SIZES["vocabulary"], CONTEXT))
        with open_gguf(path) as file:
            graph = build_graph(file, context=CONTEXT)
            truth = Truth(graph, file)
        (logits,) = truth.run({"tokens": tokens}, range(CONTEXT)).values()
        return cls(architecture, quant, path, graph, tokens, logits)

    def spared(self, positions: int) -> int:
        """How many of these may have gone to other experts, as int8 and halves round.

        A tenth where activations may be int8, one of 96 where they may be halves.
        """
        if self.quant == "f32" or all(node.op is not Op.EXPERTS for node in self.graph.nodes):
            return 0
        return positions // (10 if self.quant not in FLOATS else 90)

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
    executable: RemoteExecutable,
    tokens: Sequence[int],
    start: int = 0,
    chunk: int = 0,
    slot: int = 0,
) -> Array:
    """Logits after each token, in chunks of `chunk` or of as much as a run takes."""
    (name,) = (n for n in executable.graph.inputs if n not in ("positions", "slots", "rows"))
    step = min(chunk or executable.chunk, executable.chunk)
    parts = []
    for at in range(0, len(tokens), step):
        part = tokens[at : at + step]
        positions = range(start + at, start + at + len(part))
        (out,) = executable.run({name: part}, list(positions), slots=slot).values()
        parts.append(out)
    return np.concatenate(parts)


def same(found: Array, expected: Array, quant: str = "f16", spared: int = 0) -> None:
    """Two ways to the same logits differ by rounding and no more, but for `spared` positions."""
    each = sorted(divergence(e[None], f[None]) for e, f in zip(expected, found, strict=True))
    kept = each[: len(each) - spared]
    assert kept[-1] <= 10 * bound(quant), f"KL divergence {kept[-1]:.3g}"
    assert np.mean(kept) <= bound(quant)


def drawn_alike(
    params: SamplingParams, history: Sequence[int], found: Sequence[int], logits: Array, start: int
) -> int:
    """How many tokens from position `start` on are what the sampler draws from their logits."""
    sampler, equal = Sampler(params, history), 0
    for number, (row, token) in enumerate(zip(logits, found, strict=True), start):
        equal += token == sampler.sample(row, number)
        sampler.accept(token)
    return equal
