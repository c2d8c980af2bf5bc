"""Cases for every op of the graph, the same for every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from forge.graph import Op
from forge.testing.cases.attention import attention
from forge.testing.cases.case import OpCase, Step
from forge.testing.cases.matrices import embed, experts, matmul
from forge.testing.cases.rows import elementwise, gates, norms, rope, select_rows

SOURCES: tuple[Callable[[], Iterator[OpCase]], ...] = (
    embed,
    norms,
    matmul,
    elementwise,
    rope,
    attention,
    gates,
    select_rows,
    experts,
)


def op_cases() -> Mapping[Op, tuple[OpCase, ...]]:
    """Every case, by op."""
    found: dict[Op, list[OpCase]] = {op: [] for op in Op}
    for case in chain.from_iterable(source() for source in SOURCES):
        found[case.op].append(case)
    return {op: tuple(cases) for op, cases in found.items()}


__all__ = ["OpCase", "Step", "op_cases"]
