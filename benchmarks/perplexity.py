"""`forge perplexity` beside llama.cpp's perplexity of the same tokens in the same windows.

    python benchmarks/perplexity.py TOOLS MODEL.gguf ... [--window 512] [--json]

The text is the one beside this script, TOOLS the folder of llamacpp_peer.py. Ends with status 1
where they differ by more than 1 %.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from llamacpp import Array, LlamaCpp

from forge.gguf import open_gguf
from forge.perplexity import WINDOW, perplexity
from forge.tokenizer import Tokenizer

TEXT = Path(__file__).parent / "text.txt"
BOUND = 0.01
HEAD = """| model | tokens scored | window | forge | llama.cpp | apart |
|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Row:
    """One model."""

    model: str
    tokens: int
    window: int
    forge: float
    peer: float

    @property
    def apart(self) -> float:
        """How much forge's is above llama.cpp's, of the latter."""
        return self.forge / self.peer - 1


def measured(model: Path, window: int, peer: LlamaCpp) -> Row:
    """Forge by its command line; llama.cpp on the tokens that forge makes of the text."""
    with open_gguf(model) as file:
        tokenizer = Tokenizer.from_gguf(file)
    tokens = tokenizer.encode(TEXT.read_bytes())

    def logits(part: Sequence[int]) -> Iterator[Array]:
        yield from peer.logits(model, [part])

    theirs = perplexity(logits, tokens, window, tokenizer.leading_bos)
    asked = ["perplexity", "-m", model, "-f", TEXT, "-b", "cpu", "-w", window, "--json"]
    command = [sys.executable, "-P", "-m", "forge", *map(str, asked)]
    said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return Row(model.name, said["scored"], window, said["perplexity"], theirs.perplexity)


def main() -> int:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--window", type=int, default=WINDOW)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [measured(model, asked.window, LlamaCpp(asked.tools)) for model in asked.models]
    if asked.json:
        print(json.dumps([{**asdict(row), "apart": row.apart} for row in rows]))
    else:
        print(HEAD)
        for row in rows:
            cells = (row.model, row.tokens, row.window, f"{row.forge:.4f}", f"{row.peer:.4f}")
            print(f"| {' | '.join(map(str, cells))} | {100 * row.apart:+.2f} % |")
    return 0 if all(abs(row.apart) <= BOUND for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
