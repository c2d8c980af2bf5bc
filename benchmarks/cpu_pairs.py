"""`forge bench` against another engine's bench, in pairs: memory is fast in one minute and not in
the next, so only what was measured side by side compares.

    python benchmarks/cpu_pairs.py MODEL.gguf ... --peer 'python3 llamacpp_peer.py bench'
        [--pairs 5] [-t 2] [-p 512] [-n 128] [-r 1] [--out table.md]

The peer is called as `COMMAND MODEL -p P -n N -r R -t T` and prints a JSON object with
prefill_tok_s and decode_tok_s, as `forge bench --json` does. Who goes first takes turns.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from machine import description, markdown_table, read_rate


@dataclass(frozen=True, slots=True)
class Rates:
    """Tokens a second."""

    prefill: float
    decode: float


def rates(command: list[str], options: list[str]) -> Rates:
    """What one bench says; the last line of its output is the object."""
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Rates(float(said["prefill_tok_s"]), float(said["decode_tok_s"]))


def pair(model: Path, peer: list[str], options: list[str], *, swap: bool) -> tuple[Rates, Rates]:
    """Forge's rates and the peer's, one after the other."""
    ours = [sys.executable, "-P", "-m", "forge", "bench", "-b", "cpu", "--json", "-m", str(model)]
    commands = [ours, [*peer, str(model)]]
    found = [rates(command, options) for command in (commands[::-1] if swap else commands)]
    first, second = found[::-1] if swap else found
    return first, second


def main() -> None:
    """Print every pair as it is measured, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--peer", required=True, metavar="COMMAND")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("-t", type=int, default=2, help="threads of both")
    parser.add_argument("-p", type=int, default=512, help="tokens of the prefill")
    parser.add_argument("-n", type=int, default=128, help="tokens decoded")
    parser.add_argument("-r", type=int, default=1, help="repetitions within a bench")
    parser.add_argument("--out", type=Path, help="write the table there as well")
    asked = parser.parse_args()
    options = [text for flag in "pnrt" for text in (f"-{flag}", str(getattr(asked, flag)))]
    rows: list[list[object]] = []
    for model in asked.models:
        found: list[tuple[Rates, Rates]] = []
        before = read_rate(asked.t)
        for number in range(asked.pairs):
            ours, theirs = pair(model, shlex.split(asked.peer), options, swap=number % 2 == 1)
            found.append((ours, theirs))
            print(
                f"{model.name} {number + 1}: "
                f"prefill {ours.prefill:8.1f} : {theirs.prefill:8.1f} = "
                f"{ours.prefill / theirs.prefill:.2f}   "
                f"decode {ours.decode:7.1f} : {theirs.decode:7.1f} = "
                f"{ours.decode / theirs.decode:.2f}",
                flush=True,
            )
        rows.append([model.name, *_summary(found), f"{before:.1f}–{read_rate(asked.t):.1f}"])
    titles = ["model", "prefill", "peer", "ratio (pairs)", "decode", "peer", "ratio (pairs)"]
    report = "\n\n".join(
        [
            description(),
            f"`{shlex.join(['python', 'benchmarks/cpu_pairs.py', *map(str, sys.argv[1:])])}`",
            "Tokens a second and ratios, medians; memory is read at the start and the end.",
            markdown_table([*titles, "memory GB/s"], rows),
        ]
    )
    print(f"\n{report}")
    if asked.out:
        asked.out.write_text(f"{report}\n", encoding="utf-8")


def _summary(pairs: list[tuple[Rates, Rates]]) -> list[str]:
    cells: list[str] = []
    for name in ("prefill", "decode"):
        ours = [float(getattr(a, name)) for a, _ in pairs]
        theirs = [float(getattr(b, name)) for _, b in pairs]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        every = " ".join(f"{ratio:.2f}" for ratio in ratios)
        cells += [f"{statistics.median(ours):.1f}", f"{statistics.median(theirs):.1f}"]
        cells.append(f"**{statistics.median(ratios):.2f}** ({every})")
    return cells


if __name__ == "__main__":
    main()
