"""Every op without a matrix, at the conformance suite's sizes, against the reference in float64."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forge.gguf import open_gguf
from forge.graph import Op
from forge.testing.cases import OpCase, op_cases
from forge.testing.judge import compare, runs
from forge.testing.truth import Truth
from forge.weights import Weights
from forge_cpu.crew import Crew
from forge_cpu.library import Library

from .nodes import NodeRun

OPS = [op for op in Op if op not in (Op.EMBED, Op.MATMUL, Op.EXPERTS)]
CASES = [pytest.param(c, id=f"{op}-{c.id}") for op in OPS for c in op_cases()[op]]


@pytest.fixture(scope="module")
def crew(library: Library) -> Iterator[Crew]:
    made = Crew(library, 2)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_the_references(
    case: OpCase, library: Library, crew: Crew, tmp_path: Path
) -> None:
    with open_gguf(case.write(tmp_path / "case.gguf")) as file:
        weights = {name: w.dense() for name, w in Weights(case.graph, file).items()}
        truth = Truth(case.graph, file)
    node = NodeRun(case.graph, weights, library, crew)
    steps = list(case.runs(512))
    runs(node, [({n: np.full_like(v, np.nan) for n, v in x.items()}, step) for x, step in steps])
    found = runs(node, steps)
    for first, second in zip(found, runs(node, steps), strict=True):
        np.testing.assert_array_equal(first, second)
    compare(found, runs(truth, steps), case.bound)


BREAKABLE = [
    pytest.param(case, name, id=f"{op}-{case.column}-{name}")
    for op in OPS
    for case in {c.column: c for c in reversed(op_cases()[op]) if c.steps[0].tokens > 2}.values()
    for name, spec in case.graph.inputs.items()
    if spec.dtype == "f32"
    and (case.column not in ("not causal", "q8_0 cache") or name == "q")  # or more than it breaks
]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus inf"])
@pytest.mark.parametrize(("case", "name"), BREAKABLE)
def test_what_is_not_finite_shows_where_the_reference_has_it(
    case: OpCase, value: float, name: str, library: Library, crew: Crew, tmp_path: Path
) -> None:
    with open_gguf(case.write(tmp_path / "case.gguf")) as file:
        weights = {name: w.dense() for name, w in Weights(case.graph, file).items()}
        truth = Truth(case.graph, file)
    node = NodeRun(case.graph, weights, library, crew)
    (values, step), *_ = case.runs(512)
    broken = {**values, name: values[name].copy()}
    broken[name][step.tokens // 2, values[name].shape[1] // 3] = value
    (found,) = runs(node, [(broken, step)])
    (expected,) = runs(truth, [(broken, step)])
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
