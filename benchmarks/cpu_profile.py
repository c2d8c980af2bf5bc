"""Where the time of a decoded token goes on the CPU, kernel by kernel.

    python benchmarks/cpu_profile.py MODEL.gguf [--threads N] [--depth N]

Medians over 40 tokens, in microseconds by the processor's clock: `work` is what the first thread
computes, `wait` what it waits for the others. GB/s: packed weights read in both.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge_cpu.compiled.executable import CompiledExecutable
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.library import Library
from forge_cpu.program import Program

_TOKENS = 40


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-d", "--depth", type=int, default=128, help="tokens in the context")
    given = parser.parse_args()
    file = open_gguf(given.model)
    graph = build_graph(file, context=given.depth + 2 * _TOKENS, state_dtype="f16")
    library = Library()
    crew = Crew(library, given.threads)
    executable = CompiledExecutable(graph, Weights(graph, file), lambda *_: None, library, crew)
    for start in range(0, given.depth, executable.chunk):
        _run(executable, start, min(executable.chunk, given.depth - start))
    for position in range(given.depth, given.depth + _TOKENS):
        _run(executable, position, 1)
    program = executable.program_of_one
    times = np.array([crew.profile(program) for _ in range(_TOKENS)])
    _print(program, times, _microseconds(crew, program))
    crew.close()


def _run(executable: CompiledExecutable, start: int, count: int) -> None:
    positions = np.arange(start, start + count, dtype=np.int32)
    tokens = (positions * 7919 + 11) % 1000
    executable.run({"tokens": tokens}, positions, np.zeros_like(positions), "last")


def _microseconds(crew: Crew, program: Program) -> float:
    """Of one tick of the clock: a run's time over its ticks."""
    start = time.perf_counter()
    ticks = sum(int(np.ptp(crew.profile(program))) for _ in range(20))
    return (time.perf_counter() - start) / ticks * 1e6


def _print(program: Program, times: np.ndarray, tick: float) -> None:
    median = np.median(np.diff(times, axis=2), axis=0) * tick
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for name, block, (work, wait) in zip(program.kernels, program.blocks, median, strict=True):
        size = 0
        kind = name.partition(".")[2]
        if name.startswith("matmul."):
            rows, columns = (int(n) for n in block.reshape(-1)[4:6])
            size = FORMATS[kind].packed_bytes(rows, columns)
            name = f"{name} {rows}x{columns}"
        found[name] = [a + b for a, b in zip(found[name], (1, work, wait, size), strict=True)]
    whole = np.median(times[:, -1, 2] - times[:, 0, 0]) * tick
    waits = int(program.table[:, 4].sum())
    print(f"a token {whole:.0f} us, {len(program.kernels)} steps, {waits} waits")
    print(f"{'kernel':36}{'calls':>6}{'work us':>10}{'wait us':>10}{'GB/s':>8}")
    for name, (calls, work, wait, size) in sorted(found.items(), key=lambda x: -sum(x[1][1:3])):
        rate = f"{size / (work + wait) / 1e3:8.1f}" if size else ""
        print(f"{name:36}{calls:6.0f}{work:10.1f}{wait:10.1f}{rate}")


if __name__ == "__main__":
    main()
