"""Rows sorted by expert meet their own expert's matrix, whoever else has rows."""

import numpy as np
import pytest

from forge.testing import random_blocks
from forge.weights import dequantize
from forge_cpu.crew import Crew
from forge_cpu.library import Library
from forge_cpu.packing import lines_for, pack
from forge_cpu.products import multiply_experts, quantise
from forge_cpu.program import Program
from forge_cpu.steps import Choices

EXPERTS, ROWS, COLUMNS = 5, 35, 256
COUNTS = (3, 0, 11, 0, 1)
"""Rows of each expert: some, none, more than a tile, one."""


def chosen_by(counts: tuple[int, ...]) -> Choices:
    """Choices that are sorted already: so many rows for each expert."""
    choices = Choices.of(sum(counts), len(counts), 1)
    busy = [expert for expert, count in enumerate(counts) if count]
    choices.busy[: len(busy)] = busy
    choices.starts[1 : len(busy) + 1] = np.cumsum([counts[expert] for expert in busy])
    choices.count[0], choices.rows[0] = len(busy), sum(counts)
    return choices


@pytest.mark.parametrize("kind", ["q4_0", "q4_k", "mxfp4", "f32", "bf16"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_each_row_meets_its_expert(library: Library, kind: str, threads: int, biased: bool) -> None:
    random = np.random.default_rng(5)
    raw = random_blocks(kind, (EXPERTS, ROWS, COLUMNS), std=0.06, random=random)
    weights = np.stack([dequantize(matrix, kind) for matrix in raw]).astype(np.float64)
    choices = chosen_by(COUNTS)
    total = int(choices.rows[0])
    x = random.standard_normal((total, COLUMNS)).astype(np.float32)
    bias = random.standard_normal((EXPERTS, ROWS)).astype(np.float32)
    out = np.full((total, ROWS), np.nan, np.float32)
    crew = Crew(library, threads)
    try:
        packed = pack(kind, raw, COLUMNS, crew, library)
        program = Program(library)
        lines = x
        if packed.quantised:
            lines = lines_for(len(x), COLUMNS)
            quantise(program, choices.rows, x, lines, COLUMNS)
        multiply_experts(program, packed, choices, lines, out, bias=bias if biased else 0)
        crew.run(program)
        first = out.copy()
        crew.run(program)
    finally:
        crew.close()
    np.testing.assert_array_equal(first, out)
    expert = np.repeat(np.arange(EXPERTS), COUNTS)
    truth = np.einsum("tk,trk->tr", x.astype(np.float64), weights[expert])
    if biased:
        truth += bias[expert]
    assert np.square(out - truth).mean() < 5e-5 * np.square(truth).mean()


@pytest.mark.parametrize("kind", ["q4_k", "f32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_token_alone_meets_all_of_its_experts(library: Library, kind: str, threads: int) -> None:
    random = np.random.default_rng(6)
    raw = random_blocks(kind, (EXPERTS, ROWS, COLUMNS), std=0.06, random=random)
    x = random.standard_normal((1, COLUMNS)).astype(np.float32)
    one = np.array([1])
    many, alone = chosen_by((0, 1, 0, 1, 1)), Choices.of_one(EXPERTS, 3)
    alone.chosen[0] = 4, 1, 3
    outs = [np.full((3, ROWS), np.nan, np.float32) for _ in range(2)]
    crew = Crew(library, threads)
    try:
        packed = pack(kind, raw, COLUMNS, crew, library)
        program = Program(library)
        given = [np.repeat(x, 3, axis=0), x]
        if packed.quantised:
            lines = [lines_for(len(rows), COLUMNS) for rows in given]
            quantise(program, many.rows, given[0], lines[0], COLUMNS)
            quantise(program, one, given[1], lines[1], COLUMNS)
            given = lines
        multiply_experts(program, packed, many, given[0], outs[0])
        multiply_experts(program, packed, alone, given[1], outs[1], shared=True)
        crew.run(program)
    finally:
        crew.close()
    np.testing.assert_array_equal(outs[1], outs[0][[2, 0, 1]])
