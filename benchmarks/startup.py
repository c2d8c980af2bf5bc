"""What a person waits for before the first token: startup.py MODEL.gguf [REPETITIONS]

Each figure is of whole processes: seconds of wall time (median) and of CPU, less those of a bare
`python -c pass` where it says so.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time

OPEN = (
    "import sys; from forge.gguf import open_gguf; f = open_gguf(sys.argv[1])\n"
    "for key in ('tokens', 'merges', 'scores', 'token_type'):\n"
    "    f.metadata.get('tokenizer.ggml.' + key)\n"
)
ENCODE = (
    "import sys; from forge.tokenizer import Tokenizer\n"
    "Tokenizer.from_gguf(sys.argv[1]).encode('hi')"
)


def once(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr.decode()}")
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median(command: list[str], repetitions: int) -> tuple[float, float]:
    """After one run that is not counted."""
    once(command)
    walls, cpus = zip(*(once(command) for _ in range(repetitions)), strict=True)
    return statistics.median(walls), statistics.median(cpus)


def main(model: str, repetitions: int = 7) -> None:
    """Print a table."""
    python = [sys.executable, "-P"]
    bare, bare_cpu = median([*python, "-c", "pass"], repetitions)
    rows = {
        "forge --help": ([*python, "-m", "forge", "--help"], False),
        "import forge.gguf": ([*python, "-c", "import forge.gguf"], True),
        "open with vocabulary": ([*python, "-c", OPEN, model], True),
        "ready to encode": ([*python, "-c", ENCODE, model], True),
        "forge run, one token": (
            [*python, "-m", "forge", "run", "-m", model, "--tokens", "1,2,3", "-n", "1"],
            False,
        ),
    }
    print(f"{os.path.basename(model)}, {repetitions} runs, bare python {bare:.3f} s")
    for name, (command, less_bare) in rows.items():
        wall, cpu = median(command, repetitions)
        wall, cpu = (wall - bare, cpu - bare_cpu) if less_bare else (wall, cpu)
        note = " (less bare python)" if less_bare else ""
        print(f"{name:24} {wall:7.3f} s wall {cpu:7.3f} s CPU{note}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 7)
