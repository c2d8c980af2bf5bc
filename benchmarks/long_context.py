"""How rates hold up as the context grows: long_context.py MODEL.gguf ... [--tokens 128 512 4096]

Prefill of so many tokens, and decoding with so many in the context, round by round; each rate is
compared with that of its reference (512 for prefill, 128 for decode) in the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from machine import description, markdown_table, read_rate

REFERENCES = {"prefill": 512, "decode": 128}


def rate(model: Path, threads: int, what: str, tokens: int, decoded: int) -> float:
    """Tokens a second: of a prefill of `tokens`, or of decoding after them."""
    sizes = (tokens, 1, 0) if what == "prefill" else (1, decoded, tokens)
    flags = [text for flag, size in zip("pnd", sizes, strict=True) for text in (f"-{flag}", size)]
    command = ["bench", "-b", "cpu", "--json", "-m", model, "-t", threads, "-r", 1, *flags]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "forge", *map(str, command)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout)[f"{what}_tok_s"])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512, 4096])
    parser.add_argument("-n", type=int, default=64, help="tokens decoded")
    parser.add_argument("-r", type=int, default=3, help="rounds")
    parser.add_argument("-t", type=int, default=2, help="threads")
    asked = parser.parse_args()
    rows: list[list[object]] = []
    for model in asked.models:
        for what, reference in REFERENCES.items():
            sizes = sorted({*asked.tokens, reference})
            rounds = [
                {size: rate(model, asked.t, what, size, asked.n) for size in sizes}
                for _ in range(asked.r)
            ]
            for size in sizes:
                kept = statistics.median(found[size] / found[reference] for found in rounds)
                middle = statistics.median(found[size] for found in rounds)
                rows.append([model.name, what, size, f"{middle:.1f}", f"{100 * kept:.0f} %"])
    print(f"{description()}, memory {read_rate(asked.t):.1f} GB/s\n")
    print(markdown_table(["model", "what", "tokens", "tok/s", "of the reference"], rows))


if __name__ == "__main__":
    main()
