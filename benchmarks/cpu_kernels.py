"""How fast the CPU's matrix kernels are, beside the memory's own speed in the same run.

    python benchmarks/cpu_kernels.py [--threads N] [--tokens 1 512] [--shapes 1536x576] [TYPE ...]

Gw/s: weights times tokens a second, in thousand millions. GB/s: packed bytes read a second, which
for one token is what the memory (or the cache, where the matrix fits there) gives. `read` is the
best rate at which the same threads sum up 256 MiB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from forge.backend import Array
from forge.testing import random_blocks
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.library import Library
from forge_cpu.packing import DENSE, aligned_bytes, lines_for, pack
from forge_cpu.products import multiply, quantise
from forge_cpu.program import Program

_SHAPES = ("1536x576", "4096x4096", "49152x576")
_READ_BYTES = 256 << 20
_SECONDS = 0.15


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 512])
    parser.add_argument("--shapes", nargs="+", default=_SHAPES, help="rows x columns")
    parser.add_argument("types", nargs="*", default=[*FORMATS, *sorted(DENSE)])
    given = parser.parse_args()
    library = Library()
    crew = Crew(library, given.threads)
    print(f"{library.isa}, {crew.size} threads, read {_read_rate(crew, library):.1f} GB/s")
    print(f"{'type':8}{'shape':>12}{'tokens':>8}{'us':>10}{'Gw/s':>8}{'GB/s':>8}{'pack Gw/s':>11}")
    for kind in given.types:
        for shape in given.shapes:
            rows, columns = map(int, shape.split("x"))
            if kind in FORMATS and columns % (32 * FORMATS[kind].blocks):
                columns = 512
            _measure(crew, library, kind, rows, columns, given.tokens)
    print(f"read {_read_rate(crew, library):.1f} GB/s")
    crew.close()


def _measure(
    crew: Crew, library: Library, kind: str, rows: int, columns: int, counts: list[int]
) -> None:
    random = np.random.default_rng(0)
    few = random_blocks(kind, (min(rows, 256), columns), std=1 / 64, random=random)
    raw = np.tile(few, (-(-rows // len(few)), 1))[:rows]
    start = time.perf_counter()
    packed = pack(kind, raw, columns, crew, library)
    rate = rows * columns / (time.perf_counter() - start) / 1e9
    for tokens in counts:
        count = np.array([tokens])
        x = random.standard_normal((tokens, columns), np.float32)
        lines, out = x, np.empty((tokens, rows), np.float32)
        first, product = Program(library), Program(library)
        if packed.quantised:
            lines = lines_for(tokens, columns)
            quantise(first, count, x, lines, columns)
        multiply(product, packed, count, lines, out)
        crew.run(first)
        seconds = _best(lambda: crew.run(product))  # noqa: B023 -- called at once
        print(
            f"{kind:8}{f'{rows}x{columns}':>12}{tokens:8}{seconds * 1e6:10.1f}"
            f"{rows * columns * tokens / seconds / 1e9:8.1f}"
            f"{packed.data.nbytes / seconds / 1e9:8.1f}{rate:11.2f}",
            flush=True,
        )


def _best(work: Callable[[], None]) -> float:
    """The least seconds among the runs of a short while, of five at least."""
    found: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(found) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _read_rate(crew: Crew, library: Library) -> float:
    data: Array = aligned_bytes(_READ_BYTES)
    data[:] = 1
    sums = np.zeros(8 * 1024, np.int64)
    program = Program(library)
    program.add("measure.read", data, _READ_BYTES, sums)
    return _READ_BYTES / _best(lambda: crew.run(program)) / 1e9


if __name__ == "__main__":
    main()
