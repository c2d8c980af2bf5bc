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

EXPERTS, ROWS, COLUMNS = 5, 35, 256
COUNTS = (3, 0, 11, 0, 1)
"""Rows of each expert: some, none, more than a tile, one."""


@pytest.mark.parametrize("kind", ["q4_0", "q4_k", "mxfp4", "f32", "bf16"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_each_row_meets_its_expert(library: Library, kind: str, threads: int, biased: bool) -> None:
    random = np.random.default_rng(5)
    raw = random_blocks(kind, (EXPERTS, ROWS, COLUMNS), std=0.06, random=random)
    weights = np.stack([dequantize(matrix, kind) for matrix in raw]).astype(np.float64)
    starts = np.array([0, *np.cumsum(COUNTS)], np.int32)
    total = np.array([int(starts[-1])])
    x = random.standard_normal((total[0], COLUMNS)).astype(np.float32)
    bias = random.standard_normal((EXPERTS, ROWS)).astype(np.float32)
    out = np.full((total[0], ROWS), np.nan, np.float32)
    crew = Crew(library, threads)
    try:
        packed = pack(kind, raw, COLUMNS, crew, library)
        program = Program(library)
        lines = x
        if packed.quantised:
            lines = lines_for(len(x), COLUMNS)
            quantise(program, total, x, lines, COLUMNS)
        multiply_experts(program, packed, starts, lines, out, bias=bias if biased else 0)
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
