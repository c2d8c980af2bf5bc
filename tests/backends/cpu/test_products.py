"""Products with packed weights of every type, in every instruction set that this machine has."""

import numpy as np
import pytest
from numpy.typing import NDArray

from forge.backend import reference
from forge.testing import random_blocks
from forge.weights import dequantize
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.isa import Isa, available
from forge_cpu.library import Library
from forge_cpu.packing import DENSE, Packed, lines_for, pack
from forge_cpu.products import multiply, quantise, read_rows
from forge_cpu.program import Program

Floats = NDArray[np.float32]
BEST, *OTHERS = available()
KINDS_FOR_OTHERS = ("q4_1", "q5_0", "q8_0", "q2_k", "q6_k", "iq4_xs", "f16")
"""Every width of code, kind of scale and place of a sum."""
ROWS, TOKENS = 37, 13
"""Two groups and a part of one; a tile, and what is left of one."""
COLUMNS = 768
ODD_COLUMNS = 773
"""Of the types without blocks."""


class Matrix:
    """A random weight, packed, and the numbers it stands for."""

    def __init__(self, kind: str, isa: Isa, threads: int = 2) -> None:
        self.library = Library(isa)
        self.crew = Crew(self.library, threads)
        random = np.random.default_rng(7)
        self.columns = ODD_COLUMNS if kind in DENSE else COLUMNS
        raw = random_blocks(kind, (ROWS, self.columns), std=0.05, random=random)
        self.weights = dequantize(raw, kind).astype(np.float64)
        self.packed: Packed = pack(kind, raw, self.columns, self.crew, self.library)
        self.x = random.standard_normal((TOKENS, self.columns)).astype(np.float32)

    def product(
        self, x: Floats, bias: Floats | None = None, residual: Floats | None = None
    ) -> Floats:
        tokens = np.array([len(x)])
        out = np.full((len(x), ROWS), np.nan, np.float32)
        program = Program(self.library)
        lines = x
        if self.packed.quantised:
            lines = lines_for(len(x), self.columns)
            quantise(program, tokens, x, lines, self.columns)
        multiply(
            program,
            self.packed,
            tokens,
            lines,
            out,
            bias=0 if bias is None else bias,
            residual=0 if residual is None else residual,
        )
        self.crew.run(program)
        return out

    def rows(self, tokens: list[int]) -> Floats:
        count, ids = np.array([len(tokens)]), np.array(tokens)
        out = np.full((len(tokens), self.columns), np.nan, np.float32)
        program = Program(self.library)
        read_rows(program, self.packed, count, ids, out)
        self.crew.run(program)
        return out


@pytest.fixture(
    params=[
        *((BEST, kind) for kind in (*FORMATS, *sorted(DENSE))),
        *((isa, kind) for isa in OTHERS for kind in KINDS_FOR_OTHERS),
    ],
    ids="-".join,
)
def matrix(request: pytest.FixtureRequest):
    isa, kind = request.param
    matrix = Matrix(kind, isa)
    yield matrix
    matrix.crew.close()


def test_products_are_those_of_the_reference(matrix: Matrix) -> None:
    found = matrix.product(matrix.x)
    truth = reference.matmul(matrix.x.astype(np.float64), matrix.weights)
    bound = 1e-12 if matrix.packed.kind in DENSE else 5e-5
    assert np.square(found - truth).mean() < bound * np.square(truth).mean()


def test_a_token_alone_has_the_bits_that_it_has_among_others(matrix: Matrix) -> None:
    together = matrix.product(matrix.x)
    alone = np.concatenate([matrix.product(row[None].copy()) for row in matrix.x])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_its_token_and_nowhere_else(
    matrix: Matrix, value: float
) -> None:
    clean = matrix.product(matrix.x)
    matrix.x[4, 300] = value
    found = matrix.product(matrix.x)
    assert not np.isfinite(found[4]).any()
    others = [t for t in range(TOKENS) if t != 4]
    np.testing.assert_array_equal(found[others], clean[others])


def test_bias_and_residual_are_added(matrix: Matrix) -> None:
    random = np.random.default_rng(8)
    bias = random.standard_normal(ROWS).astype(np.float32)
    residual = random.standard_normal((TOKENS, ROWS)).astype(np.float32)
    plain = matrix.product(matrix.x)
    np.testing.assert_array_equal(
        matrix.product(matrix.x, bias, residual), (plain + bias) + residual
    )
    np.testing.assert_array_equal(matrix.product(matrix.x, None, residual), plain + residual)


def test_zeros_and_the_smallest_numbers_give_zero(matrix: Matrix) -> None:
    matrix.x[0] = 0
    matrix.x[1] = np.float32(1e-40)
    np.testing.assert_allclose(matrix.product(matrix.x)[:2], 0, atol=1e-37)


def test_embedded_rows_are_the_weights(matrix: Matrix) -> None:
    tokens = [36, 0, 15, 16, 3, 3]
    np.testing.assert_allclose(
        matrix.rows(tokens), matrix.weights[tokens], rtol=1e-6, atol=1e-6 * 0.05
    )


@pytest.mark.parametrize("kind", ["q4_1", "q6_k"])
def test_the_number_of_threads_changes_no_bit(kind: str) -> None:
    one, three = Matrix(kind, BEST, 1), Matrix(kind, BEST, 3)
    try:
        np.testing.assert_array_equal(one.product(one.x), three.product(three.x))
    finally:
        one.crew.close()
        three.crew.close()
