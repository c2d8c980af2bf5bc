"""How far forge's logits are from the exact ones, and how far llama.cpp's are.

    python benchmarks/quality.py TOOLS [--real MODEL.gguf ...] [--only NAME ...] [--json]

The truth is llama.cpp on a copy of the file in float32. Both are measured by the mean of
KL(truth ‖ logits) over the tokens, in nats and float64, and by how often they have the truth's most
likely token. TOOLS is the folder of llamacpp_peer.py and float32_twin.py. Without --real: random
models of every architecture; with it these files, on the text beside this script. Ends with status
1 where forge is worse than the bounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llamacpp import LlamaCpp
from quality_models import matrix

from forge import Engine, Tokenizer
from forge.gguf import open_gguf
from forge.testing.truth import agreement, divergence

TEXT = Path(__file__).parent / "text.txt"
RATIO = 1.1
"""The most that forge's divergence may be of llama.cpp's."""
POINTS = 0.01
"""The most that forge's agreement with the truth may be below llama.cpp's."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model: distance from the truth (nats) and agreement with its first choice, of both."""

    model: str
    tokens: int
    spread: float
    forge_kl: float
    peer_kl: float
    forge_top1: float
    peer_top1: float
    error: float
    """The standard error of `ratio`, from how it differs between prompts."""

    @property
    def ratio(self) -> float:
        """Of the divergences."""
        return self.forge_kl / self.peer_kl

    @property
    def good(self) -> bool:
        """Within all bounds."""
        return self.ratio <= RATIO and self.forge_top1 >= self.peer_top1 - POINTS


def compare(
    name: str, model: Path, twin: Path, prompts: Sequence[Sequence[int]], peer: LlamaCpp
) -> Row:
    """All three on the same prompts; forge by its worker, as `forge bench` and a reply."""
    truths = peer.logits(peer.float32(model, twin), prompts, exact=True)
    theirs = peer.logits(model, prompts)
    with Engine.open(model, backend="cpu", context=max(map(len, prompts)), strict=True) as engine:
        ours = [engine.logits(tokens) for tokens in prompts]
    figures = [
        (
            truth.std(),
            divergence(truth, a),
            divergence(truth, b),
            agreement(truth, a),
            agreement(truth, b),
        )
        for truth, a, b in zip(truths, ours, theirs, strict=True)
    ]
    spread, *means = np.mean(figures, axis=0).tolist()
    _, a, b, *_ = np.array(figures).T
    error = np.std(a - a.mean() / b.mean() * b) / np.sqrt(len(a)) / b.mean()
    return Row(name, sum(map(len, prompts)), spread, *means, float(error))


def random_models(peer: LlamaCpp, only: Sequence[str], tokens: int, prompts: int) -> Iterator[Row]:
    """Those of the matrix whose names begin with one of `only`, on random tokens."""
    for model in matrix():
        if not model.name.startswith(tuple(only)):
            continue
        ids = np.random.default_rng(model.seed).integers(0, 250, (prompts, tokens)).tolist()
        with tempfile.TemporaryDirectory() as folder:
            path = model.write(Path(folder) / "model.gguf", tokens)
            yield compare(model.name, path, Path(folder) / "float32.gguf", ids, peer)


def real_models(peer: LlamaCpp, models: Sequence[Path], tokens: int, prompts: int) -> Iterator[Row]:
    """On parts of a fixed text; the float32 copies stay beside the files."""
    for model in models:
        with open_gguf(model) as file:
            tokenizer = Tokenizer.from_gguf(file)
        ids = tokenizer.encode(TEXT.read_bytes(), bos=tokenizer.add_bos)
        twin = model.with_suffix(".float32.gguf")
        yield compare(model.name, model, twin, _parts(ids, tokens)[:prompts], peer)


def _parts(ids: list[int], size: int) -> list[list[int]]:
    return [ids[start : start + size] for start in range(0, len(ids) - size + 1, size)]


def line(row: Row) -> str:
    """A row of the table."""
    cells = [row.model, row.tokens, f"{row.forge_kl:.2e}", f"{row.peer_kl:.2e}"]
    cells += [
        f"{row.ratio:.2f} ± {row.error:.2f}",
        f"{100 * row.forge_top1:.2f}",
        f"{100 * row.peer_top1:.2f}",
    ]
    return f"| {' | '.join(map(str, cells))} |{'' if row.good else ' beyond the bounds'}"


HEAD = """| model | tokens | KL forge | KL llama.cpp | ratio | top-1 forge % | top-1 llama.cpp % |
|---|---|---|---|---|---|---|"""


def main() -> int:
    """Print the table row by row, or JSON when all is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--real", type=Path, nargs="+", default=[])
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--tokens", type=int, default=128, help="of a prompt")
    parser.add_argument("--prompts", type=int, default=64, help="of each model")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    peer = LlamaCpp(asked.tools)
    found: Iterator[Row]
    if asked.real:
        found = real_models(peer, asked.real, asked.tokens, asked.prompts)
    else:
        found = random_models(peer, asked.only, asked.tokens, asked.prompts)
    rows: list[Row] = []
    if not asked.json:
        print(HEAD)
    for row in found:
        rows.append(row)
        if not asked.json:
            print(line(row), flush=True)
    if asked.json:
        print(json.dumps([as_json(row) for row in rows]))
    return 0 if rows and all(row.good for row in rows) else 1


def as_json(row: Row) -> dict[str, Any]:
    """With what is derived."""
    return {**asdict(row), "ratio": row.ratio, "good": row.good}


if __name__ == "__main__":
    raise SystemExit(main())
