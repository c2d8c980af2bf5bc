"""L1: every op and weight type at sizes that break tiling, against the reference in float64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from forge.gguf import open_gguf
from forge.graph import Op
from forge.testing.blocks import WEIGHT_TYPES
from forge.testing.capabilities import level
from forge.testing.cases import OpCase, op_cases
from forge.testing.cases.case import OUT
from forge.testing.cases.matrices import COMMON
from forge.testing.judge import Array, Run, compare, runs
from forge.testing.remote import RemoteBackend, RemoteExecutable
from forge.testing.truth import Truth

Compiled: TypeAlias = tuple[RemoteExecutable, Truth]

pytestmark = pytest.mark.filterwarnings("error")


def _often(case: OpCase) -> bool:
    return case.column in COMMON or case.column not in WEIGHT_TYPES


CASES = [
    pytest.param(case, id=f"{op}-{case.id}", marks=() if case.quick else pytest.mark.forge_long)
    for op, cases in op_cases().items()
    for case in cases
]
LONG = pytest.mark.forge_long
BREAKABLE = [
    pytest.param(case, name, id=f"{op}-{case.column}-{name}")
    for op, cases in op_cases().items()
    for case in {case.column: case for case in reversed(cases) if case.steps[0].tokens > 2}.values()
    for name, spec in case.graph.inputs.items()
    if spec.dtype == "f32"
    and (op is not Op.EXPERTS or name == "x")
    and (case.column != "not causal" or name == "q")
]
"""A case for each column and float input. Which expert a NaN among the scores chooses is open, and
without causality a broken key touches every row."""


BLOCKS = ("q8_0 cache",)
"""Where numbers share a scale a broken one breaks its block, and infinity has no sign."""
REPEATED = [
    pytest.param(case, id=f"{op}-{case.column}")
    for op, cases in op_cases().items()
    for case in {case.column: case for case in cases if case.quick and _often(case)}.values()
]
"""A case for each feature, and for each weight type that is common."""
RUNS = 120
"""A race that shows in one run of fifty goes unseen in one of ten tests, and there are many."""


@pytest.fixture
def compiled(case: OpCase, backend: RemoteBackend, tmp_path: Path) -> Iterator[Compiled]:
    """The case on the backend, and its truth; skips what the backend's table says it lacks."""
    taken, graph = level(backend, case.graph)
    if taken == "unsupported":
        pytest.skip(f"unsupported: {case.op} with {case.column}")
    file = case.write(tmp_path / "case.gguf")
    executable = backend.compile(graph, file)
    with open_gguf(file) as mapped:
        truth = Truth(case.graph, mapped)
    yield executable, truth
    if backend.worker.alive:
        executable.close()


@pytest.mark.parametrize("case", CASES)
def test_numbers(case: OpCase, compiled: Compiled) -> None:
    """After a run on garbage, and twice with the same bits; shapes and types as the contract's."""
    executable, truth = compiled
    steps = list(case.runs(executable.chunk))
    poison = [({n: _garbage(v) for n, v in values.items()}, step) for values, step in steps]
    runs(executable, poison)
    forget(executable)
    found = runs(executable, steps)
    forget(executable)
    again = runs(executable, steps)
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first, second, "the same run gave other bits")
    compare(found, runs(truth, steps), case.bound)


@pytest.mark.forge_long
@pytest.mark.parametrize("case", REPEATED)
def test_the_same_run_gives_the_same_bits_however_often(case: OpCase, compiled: Compiled) -> None:
    """A race between threads shows now and then."""
    executable, _ = compiled
    steps = list(case.runs(executable.chunk))
    first = runs(executable, steps)
    for number in range(RUNS // len(steps)):
        forget(executable)
        for one, other in zip(first, runs(executable, steps), strict=True):
            np.testing.assert_array_equal(other, one, f"other bits when repeated {number} times")


def forget(executable: RemoteExecutable) -> None:
    """Begin every sequence anew."""
    for slot in range(max((s.slots for s in executable.graph.state.values()), default=1)):
        assert executable.keep(0, slot=slot) == 0


def _garbage(value: Array) -> Array:
    """What no output may still hold: NaN; token ids stay what they are."""
    return value if value.dtype.kind == "i" else np.full_like(value, np.nan)


@pytest.mark.parametrize(
    "value", [pytest.param(np.nan, id="nan"), pytest.param(np.inf, id="inf", marks=LONG)]
)
@pytest.mark.parametrize(("case", "name"), BREAKABLE)
def test_what_is_not_finite_shows_where_it_should_and_nowhere_else(
    case: OpCase, value: float, name: str, compiled: Compiled
) -> None:
    """A broken number must reach the logits of its token, and no other row."""
    executable, truth = compiled
    (values, step), *_ = case.runs(executable.chunk)
    clean = executable.run(values, step.positions, step.rows, step.sequences)[OUT]
    forget(executable)
    broken: Run = ({**values, name: values[name].copy()}, step)
    row, column = step.tokens // 2, values[name].shape[1] // 3
    broken[0][name][row, column] = value
    (found,) = runs(executable, [broken])
    (expected,) = runs(truth, [broken])
    shows, should = (~np.isfinite(rows) for rows in (found, expected))
    if case.column in BLOCKS:  # which rows, and no earlier ones
        shows, should = (np.logical_or.reduce(r, axis=1, keepdims=True) for r in (shows, should))
        should[row:] |= shows[row:]
    np.testing.assert_array_equal(shows, should, f"where a {value} shows")
    # Later tokens attend to a broken one, also where its share of their sum is finite.
    same = [r for r in range(row) if np.isfinite(expected[r]).all()]
    compare([found[same]], [clean[same].astype(np.float64)], case.bound)
