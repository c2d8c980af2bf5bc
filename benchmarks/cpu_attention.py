"""How fast the CPU's attention is, beside the memory's own speed in the same run.

    python benchmarks/cpu_attention.py [--threads N] [--shapes 9/3x64 32/8x64] [TYPE ...]

Decode: one token at the end of a context; GB/s are bytes of keys and values streamed. Where a
context's cache fits into the processor's, so does its speed. `read` is the best rate at which the
same threads sum up 256 MiB. Prefill: all tokens in chunks of 512; GFLOP/s count 4 operations for
each column of each key that a head of a token sees.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from forge.backend import Array
from forge_cpu.crew import Crew
from forge_cpu.kv import Attention, KvCache, KvLayout
from forge_cpu.library import Library
from forge_cpu.program import Program
from forge_cpu.steps import AttentionStep, Frame

_SHAPES = ("9/3x64", "32/8x64")
"""Query heads / key heads x size: SmolLM2-135M and a llama of 1e9 weights."""
_CONTEXTS = (128, 4096, 32768)
_PREFILLS = (512, 4096)
_CHUNK = 512
_READ_BYTES = 256 << 20
_BYTE = 0x2E
"""As half precision 0.0965, in any type a small number."""
_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Shape:
    """Heads of an attention node."""

    heads: int
    kv_heads: int
    size: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """From "9/3x64"."""
        heads, _, rest = text.partition("/")
        kv_heads, _, size = rest.partition("x")
        return cls(int(heads), int(kv_heads), int(size))

    def __str__(self) -> str:
        return f"{self.heads}/{self.kv_heads}x{self.size}"


class Node:
    """An attention node with a full cache of small numbers."""

    def __init__(self, shape: Shape, kind: str, capacity: int, crew: Crew, library: Library):
        self.crew, tokens = crew, min(_CHUNK, capacity)
        layout = KvLayout(kind, 1, shape.kv_heads, capacity, shape.size, shape.size)
        node = Attention(shape.heads, layout)
        random = np.random.default_rng(0)

        def rows(heads: int) -> Array:
            return random.standard_normal((tokens, heads * shape.size)).astype(np.float32)

        q, k, v, out = (rows(n) for n in (shape.heads, *[shape.kv_heads] * 2, shape.heads))
        self.frame = Frame(
            np.zeros(1, np.int64), np.zeros(tokens, np.int32), np.zeros(tokens, np.int32)
        )
        cache, work = KvCache(layout), (node.scratch(crew.size), node.partials())
        self.programs = {single: Program(library) for single in (True, False)}
        for single, program in self.programs.items():
            scale = shape.size**-0.5
            step = AttentionStep(
                self.frame, node, cache, work, q, k, v, out, scale=scale, single=single
            )
            step.add_tiles(program)
            step.add_join(program)
        cache.keys[:] = cache.values[:] = _BYTE
        self.bytes = capacity * shape.kv_heads * (layout.group_bytes // 16 + layout.row_bytes)

    def run(self, start: int, count: int) -> None:
        """Tokens from a position on."""
        self.frame.tokens[0] = count
        self.frame.positions[:count] = np.arange(start, start + count)
        self.crew.run(self.programs[count == 1])


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--shapes", nargs="+", default=_SHAPES, help="heads/kv heads x size")
    parser.add_argument(
        "types",
        nargs="*",
        default=["f16", "q8_0"],
    )
    given = parser.parse_args()
    library = Library()
    crew = Crew(library, given.threads)
    shapes = [Shape.parse(text) for text in given.shapes]
    print(f"{library.isa}, {crew.size} threads, read {_read_rate(crew, library):.1f} GB/s")
    print(f"decode\n{'type':8}{'heads':>10}{'context':>9}{'us':>10}{'GB/s':>8}{'best':>8}")
    for kind, shape, context in _all(given.types, shapes, _CONTEXTS):
        node = Node(shape, kind, context, crew, library)
        median, best = _seconds(partial(node.run, context - 1, 1))
        rates = "".join(f"{node.bytes / seconds / 1e9:8.1f}" for seconds in (median, best))
        print(f"{kind:8}{shape!s:>10}{context:9}{median * 1e6:10.1f}{rates}", flush=True)
    print(f"read {_read_rate(crew, library):.1f} GB/s")
    print(f"prefill\n{'type':8}{'heads':>10}{'tokens':>9}{'ms':>10}{'GFLOP/s':>9}{'best':>8}")
    for kind, shape, count in _all(given.types, shapes, _PREFILLS):
        node = Node(shape, kind, count, crew, library)
        median, best = _seconds(partial(_prefill, node, count))
        work = 2 * count * (count + 1) * shape.heads * shape.size / 1e9
        rates = f"{work / median:9.0f}{work / best:8.0f}"
        print(f"{kind:8}{shape!s:>10}{count:9}{median * 1e3:10.2f}{rates}", flush=True)
    crew.close()


def _all(
    kinds: list[str], shapes: list[Shape], lengths: tuple[int, ...]
) -> list[tuple[str, Shape, int]]:
    return [(kind, shape, length) for kind in kinds for shape in shapes for length in lengths]


def _prefill(node: Node, count: int) -> None:
    for start in range(0, count, _CHUNK):
        node.run(start, min(_CHUNK, count - start))


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """The median and the least of as many calls as fit into the time, of five at least."""
    work()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), min(times)


def _read_rate(crew: Crew, library: Library) -> float:
    """GB/s at which the crew reads memory that no cache holds."""
    values = np.ones(_READ_BYTES // 4, np.float32)
    sums = np.zeros((crew.size, 8), np.int64)
    program = Program(library)
    program.add("measure.read", values, _READ_BYTES, sums)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        crew.run(program)
        times.append(time.perf_counter() - start)
    return _READ_BYTES / min(times) / 1e9


if __name__ == "__main__":
    main()
