"""What a person waits for before the first token: startup.py MODEL.gguf [-r 7] [--peer 'COMMAND']

Each figure is of whole processes: seconds of wall time (median) and of CPU, less those of a bare
`python -c pass` where it says so. The peer is called as `COMMAND MODEL --tokens IDS -n 1 -t T` and
prints the token; it and forge take turns, and their ratio is the median of the pairs'.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from machine import description

PYTHON = [sys.executable, "-P"]
PROMPT = ",".join(str(7919 * i % 997 + 1) for i in range(16))
OPEN = (
    "import sys; from forge.gguf import open_gguf; f = open_gguf(sys.argv[1])\n"
    "for key in ('tokens', 'merges', 'scores', 'token_type'):\n"
    "    f.metadata.get('tokenizer.ggml.' + key)\n"
)
ENCODE = (
    "import sys; from forge.tokenizer import Tokenizer\n"
    "Tokenizer.from_gguf(sys.argv[1]).encode('hi')"
)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds until the first byte of output, until the process is gone, and of CPU."""

    first: float
    wall: float
    cpu: float


def once(command: list[str]) -> Times:
    """One process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    first = time.perf_counter() - start
    _, errors = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{errors.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(first, wall, cpu)


def median(runs: list[Times]) -> Times:
    """Of each time by itself; the first run is not counted."""
    counted = runs[1:]
    return Times(*(statistics.median(getattr(t, n) for t in counted) for n in Times.__slots__))


def parts(model: str, repetitions: int) -> None:
    """Print what the pieces of the host take."""

    def measured(*arguments: str) -> Times:
        return median([once([*PYTHON, *arguments]) for _ in range(repetitions + 1)])

    bare = measured("-c", "pass")
    print(f"bare python               {bare.wall:7.3f} s wall {bare.cpu:7.3f} s CPU")
    for name, arguments in {
        "import forge.gguf": ("-c", "import forge.gguf"),
        "open with vocabulary": ("-c", OPEN, model),
        "ready to encode": ("-c", ENCODE, model),
        "forge --help": ("-m", "forge", "--help"),
    }.items():
        found = measured(*arguments)
        wall, cpu = found.wall - bare.wall, found.cpu - bare.cpu
        print(f"{name:25} {wall:7.3f} s wall {cpu:7.3f} s CPU (less bare python)")


def whole(model: str, repetitions: int, threads: int, peer: list[str]) -> None:
    """Print what a `forge run` of one token takes, beside the peer's."""
    options = ["--tokens", PROMPT, "-n", "1", "-t", str(threads)]
    ours = [*PYTHON, "-m", "forge", "run", "-b", "cpu", "-m", model, "--temp", "0", *options]
    theirs = [*peer, model, *options]
    pairs = [(once(ours), once(theirs if peer else ours)) for _ in range(repetitions + 1)]
    found = median([first for first, _ in pairs])
    print(
        f"forge run, first token    {found.first:7.3f} s wall\n"
        f"forge run, whole process  {found.wall:7.3f} s wall {found.cpu:7.3f} s CPU"
    )
    if peer:
        other = median([second for _, second in pairs])
        ratio = statistics.median(a.wall / b.wall for a, b in pairs[1:])
        print(f"peer, whole process       {other.wall:7.3f} s wall {other.cpu:7.3f} s CPU")
        print(f"whole processes, ratio    {ratio:7.2f}")


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-r", type=int, default=7, help="runs, after one that is not counted")
    parser.add_argument("-t", type=int, default=2, help="threads of both")
    parser.add_argument("--peer", default="", metavar="COMMAND")
    parser.add_argument("--whole", action="store_true", help="leave out the parts")
    asked = parser.parse_args()
    print(f"{Path(asked.model).name}, median of {asked.r} runs\n{description()}")
    if not asked.whole:
        parts(asked.model, asked.r)
    whole(asked.model, asked.r, asked.t, shlex.split(asked.peer))


if __name__ == "__main__":
    main()
