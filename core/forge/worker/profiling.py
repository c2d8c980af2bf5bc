"""A backend's timings of a run, with what the graph says of each kernel."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forge.backend import BackendError, Executable, Graph, Op, Timing, WeightSpec, attributes
from forge.graph import ROWS
from forge.profile import KernelTime

_ROUND = 0.5
"""Seconds of work between two beats, or one repetition."""
_MOST = 4096
"""Kernels of one run: more do not fit in a message."""
_LONGEST = 100
"""Characters of a name."""


def rounds(
    executable: Executable, tokens: int, start: int, repetitions: int
) -> Iterator[tuple[int, list[Timing]]]:
    """The timings of some repetitions at a time, and how many are done; each is a beat.

    The first repetition shows how many are one round, and is not counted where others follow.
    """
    done, count = 0, 1
    while done < repetitions:
        began = time.perf_counter()
        timings = executable.profile(tokens, count, start)
        each = (time.perf_counter() - began) / count
        done += count
        yield done, timings
        count = max(1, min(repetitions - done, int(_ROUND / max(each, 1e-6))))


def kernel_times(
    graph: Graph, tokens: int, measured: Sequence[Sequence[Timing]]
) -> list[KernelTime]:
    """Medians of all rounds but the first, which warms up. BackendError if they do not match."""
    counted = measured[1:] or measured
    names = [(timing.name, timing.kernel) for timing in counted[0]]
    if any([(t.name, t.kernel) for t in each] != names for each in counted):
        raise BackendError("the backend ran other kernels from one repetition to the next")
    if len(names) > _MOST:
        raise BackendError(f"a run of {len(names)} kernels: {_MOST} is the most that is shown")
    seconds = [statistics.median(t.seconds for t in same) for same in zip(*counted, strict=True)]
    if not all(0 <= each < float("inf") for each in seconds):
        raise BackendError("the backend's timestamps make no sense: a kernel took no finite time")
    parts = _Parts(graph, tokens, {name for name, _ in names})
    described = {name: parts.of(name) for name, _ in names}
    busy = _multipliers(names, seconds)
    found = []
    for (name, kernel), took in zip(names, seconds, strict=True):
        part, calls = described[name], busy[name].get(kernel, 0)
        found.append(
            KernelTime(
                *(_short(name), part.op, _short(kernel), took),
                round(part.weight_bytes / calls) if calls else 0,
                round(part.multiply_adds / calls) if calls else 0,
            )
        )
    return found


def _multipliers(
    names: Sequence[tuple[str, str]], seconds: Sequence[float]
) -> Mapping[str, Mapping[str, int]]:
    """By node, the kernel that takes longest for it and how often it ran: it reads the weights."""
    spent: dict[str, dict[str, list[float]]] = {}
    for (name, kernel), took in zip(names, seconds, strict=True):
        spent.setdefault(name, {}).setdefault(kernel, []).append(took)
    found = {}
    for name, kernels in spent.items():
        longest = max(kernels, key=lambda kernel: sum(kernels[kernel]))
        found[name] = {longest: len(kernels[longest])}
    return found


def _short(text: str) -> str:
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Part:
    """What the kernels of one name compute together."""

    op: str = ""
    weight_bytes: float = 0.0
    multiply_adds: float = 0.0


class _Parts:
    """Reads from a graph what is computed under the names that have timings.

    A node without a timing is computed by each of its readers.
    """

    def __init__(self, graph: Graph, tokens: int, named: set[str]) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._order = {node.name: index for index, node in enumerate(graph.nodes)}
        self._specs = graph.validate()
        self._tokens, self._named = tokens, named

    def of(self, name: str) -> _Part:
        """The named node and those behind it without a name; nothing where it is no node."""
        together = sorted(self._together(name), key=self._order.__getitem__)
        ops = dict.fromkeys(str(self._nodes[each].op) for each in together)
        products = [self._product(each) for each in together]
        return _Part("+".join(ops), sum(p[0] for p in products), sum(p[1] for p in products))

    def _together(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name] if name in self._nodes else []
        while waiting:
            each = waiting.pop()
            found.add(each)
            waiting += [
                before
                for before in self._nodes[each].inputs
                if before in self._nodes and before not in self._named and before not in found
            ]
        return found

    def _product(self, name: str) -> tuple[float, float]:
        """Bytes of the matrices of a node that are read, and multiply-adds."""
        node = self._nodes[name]
        specs = [self._specs[each] for each in node.inputs]
        matrices = [each for each in specs if isinstance(each, WeightSpec) and len(each.shape) > 1]
        rows = 1 if getattr(self._specs[name], "shape", (0,))[0] == ROWS else self._tokens
        size = sum(each.bytes for each in matrices)
        elements = sum(each.elements for each in matrices)
        if node.op is Op.MATMUL:
            return float(size), float(rows * elements)
        if node.op is Op.EXPERTS:
            experts, used = matrices[0].shape[0], int(str(attributes(node)["used"]))
            read = min(1.0, used * rows / experts)
            return size * read, rows * used * elements / experts
        return 0.0, 0.0
