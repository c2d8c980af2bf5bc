"""Mixtures of experts against forge.reference in float64, for one token and for many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk, rows_of

from forge.backend import WeightSpec, reference
from forge.testing import random_blocks
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.memory import Region
from forge_gpu.steps.experts import experts, experts_bytes
from forge_gpu.tape import Tape

RANDOM = np.random.default_rng(9)
FEW, MANY = 2, 64
"""Rooms for tokens, which take different kernels."""
rooms = pytest.mark.parametrize("most", [FEW, MANY])


def normal(*shape) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


class Case:
    """Experts of one type, or one for each matrix; their numbers in float64."""

    def __init__(self, kind, count=5, n=64, f=96, biased=False, loud=1.0) -> None:
        kinds = (kind,) * 3 if isinstance(kind, str) else kind
        self.shapes = ((count, f, n), (count, f, n), (count, n, f))
        self.kinds, self.count, self.n = kinds, count, n
        self.raw = [
            random_blocks(k, (s[0] * s[1], s[2]), std=loud / s[2] ** 0.5, random=RANDOM)
            for k, s in zip(kinds, self.shapes, strict=True)
        ]
        self.biases = [normal(s[0], s[1]) for s in self.shapes] if biased else []

    def dense(self) -> list[np.ndarray]:
        made = zip(self.kinds, self.raw, self.shapes, strict=True)
        matrices = [dequantize(r, k).astype(np.float64).reshape(s) for k, r, s in made]
        return [*matrices, *(b.astype(np.float64) for b in self.biases)]

    def on(self, desk: Desk, splits=(0,)) -> dict:
        gate, up, down = (
            desk.matrix(k, r, s[2], splits, s[0])
            for k, r, s in zip(self.kinds, self.raw, self.shapes, strict=True)
        )
        if self.kinds[0] == self.kinds[1] and splits == (0,):
            gate, up = desk.together(gate, up)
        return {"matrices": [gate, up, down], "biases": [desk.array(b) for b in self.biases]}


@dataclass(frozen=True)
class Mixture:
    """The op's attributes."""

    used: int
    activation: str = "silu"
    gating: str = "softmax"
    normalize: bool = True
    factor: float = 1.0


def mixed(desk: Desk, case: Case, x, scores, mixture: Mixture, most: int, splits=(0,)):
    weights, out = case.on(desk, splits), desk.nothing(case.n, most)
    rows, ranks = desk.activation(x, most), desk.activation(scores, most)
    specs = [WeightSpec("w", s, k) for s, k in zip(case.shapes, case.kinds, strict=True)]
    limit = experts_bytes(specs, mixture.used, most)

    def room(key: object, size: int) -> Region:
        assert size <= limit
        return desk.room(size)

    def write(tape: Tape) -> None:
        experts(tape, rows, ranks, out=out, room=room, **weights, **asdict(mixture))

    desk.run(len(x), write)
    return rows_of(out, len(x))


def truth(case: Case, x, scores, mixture: Mixture) -> np.ndarray:
    exact = (a.astype(np.float64) for a in (x, scores))
    with np.errstate(invalid="ignore", over="ignore"):
        return reference.experts(*exact, *case.dense(), **asdict(mixture))


def close(got, want, bound: float) -> None:
    """Normalised mean square error, of the whole and of the worst row."""
    error, energy = np.square(got - want), np.square(want).mean()
    assert error.mean() <= bound * energy
    assert error.mean(axis=1).max() <= 16 * bound * energy


def check(desk: Desk, case: Case, tokens: int, mixture: Mixture, most: int, splits=(0,)) -> None:
    x, scores = normal(tokens, case.n), normal(tokens, case.count)
    got = mixed(desk, case, x, scores, mixture, most, splits)
    exact = set(case.kinds) <= {"f32", "f16", "bf16"}
    # Two roundings to signed bytes, one after the other: 1e-4, and 4e-4 at worst of few numbers.
    close(got, truth(case, x, scores, mixture), 1e-11 if exact else 1e-3)


@pytest.mark.parametrize(
    ("kind", "most"),
    [*((kind, FEW) for kind in FORMATS), *((kind, MANY) for kind in ("f16", "q4_0", "q6_k"))],
)
def test_every_type_of_weight(desk: Desk, kind: str, most: int) -> None:
    wide = FORMATS[kind].columns == 256
    case = Case(kind, 3, 256, 256) if wide else Case(kind, 5, 64, 96)
    check(desk, case, 17 if most == MANY else 2, Mixture(used=2), most)


@rooms
@pytest.mark.parametrize(
    "way",
    [
        {"normalize": False},
        {"gating": "sigmoid"},
        {"gating": "sigmoid", "normalize": False, "factor": 2.5},
        {"gating": "softmax_selected"},
        {"gating": "softmax_selected", "normalize": False},
        {"activation": "gelu"},
    ],
    ids=str,
)
def test_every_way_to_choose_and_to_weigh(desk: Desk, way, most: int) -> None:
    check(desk, Case("f32", 7, 33, 37), 2, Mixture(used=3, **way), most)


@rooms
@pytest.mark.parametrize("activation", ["silu", "swiglu_oai"])
@pytest.mark.parametrize("kind", ["f16", "mxfp4"])
def test_biases_are_the_experts_own(desk: Desk, kind: str, activation: str, most: int) -> None:
    case = Case(kind, 4, 64, 32, biased=True, loud=4.0)
    check(desk, case, 2, Mixture(used=2, activation=activation), most)


@pytest.mark.parametrize(
    ("kind", "count", "used", "tokens", "most"),
    [
        ("q8_0", 1, 1, 1, 1),
        ("f32", 4, 4, 2, 2),
        ("q8_0", 16, 7, 2, 2),
        ("f32", 128, 8, 9, 16),
        ("q8_0", 8, 2, 200, 256),
        ("f32", 33, 1, 65, 256),
    ],
)
def test_any_number_of_experts_and_tokens(
    desk: Desk, kind: str, count: int, used: int, tokens: int, most: int
) -> None:
    check(desk, Case(kind, count, 32, 64), tokens, Mixture(used=used), most)


@rooms
def test_matrices_of_different_types_and_in_parts(desk: Desk, most: int) -> None:
    case = Case(("q4_k", "f16", "q6_k"), 3, 256, 256)
    check(desk, case, 2, Mixture(used=2), most)
    check(desk, case, 2, Mixture(used=2), most, splits=(0, 100, 300, 700))
    check(desk, Case("q5_0", 3, 64, 64), 2, Mixture(used=2), most, splits=(0, 33, 64))


@rooms
def test_of_equal_scores_the_lower_number_wins(desk: Desk, most: int) -> None:
    case = Case("f32", 9, 8, 8)
    x, scores = normal(2, 8), np.zeros((2, 9), np.float32)
    scores[0, ::2] = -0.0
    scores[1, [3, 5, 8]] = 1.0
    mixture = Mixture(used=2)
    close(mixed(desk, case, x, scores, mixture, most), truth(case, x, scores, mixture), 1e-11)


@rooms
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kind", "activation"), [("f32", "silu"), ("q4_0", "swiglu_oai")])
def test_what_is_not_finite_shows_in_its_token_alone(
    desk: Desk, kind: str, activation: str, bad: float, most: int
) -> None:
    case, mixture = Case(kind, 4, 64, 32), Mixture(used=2, activation=activation)
    x, scores = normal(2, 64), normal(2, 4)
    before = mixed(desk, case, x, scores, mixture, most)
    spoiled = x.copy()
    spoiled[1, 40] = bad
    got = mixed(desk, case, spoiled, scores, mixture, most)
    assert not np.isfinite(got[1]).any()
    assert np.array_equal(got[0], before[0])


@rooms
@pytest.mark.parametrize("gating", ["softmax", "softmax_selected", "sigmoid"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_do_what_the_reference_does(
    desk: Desk, gating: str, bad: float, most: int
) -> None:
    case = Case("f32", 4, 8, 8)
    x, scores = normal(2, 8), normal(2, 4)
    scores[1, 2] = bad
    mixture = Mixture(used=2, gating=gating)
    got, want = mixed(desk, case, x, scores, mixture, most), truth(case, x, scores, mixture)
    assert np.array_equal(np.isfinite(got), np.isfinite(want))
    close(got[:1], want[:1], 1e-11)


@rooms
@pytest.mark.parametrize("kind", ["f16", "q4_k"])
def test_the_bits_are_the_same_each_time(desk: Desk, kind: str, most: int) -> None:
    case = Case(kind, 6, 256, 256)
    x, scores = normal(most, 256), normal(most, 6)
    first, second = (mixed(desk, case, x, scores, Mixture(used=3), most) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("without", "most"), [("dot", FEW), ("dot", MANY), ("subgroups", FEW)])
def test_devices_that_lack_a_feature_take_a_plain_path(
    open_desk: Callable[[str], Desk], without: str, most: int
) -> None:
    check(open_desk(without), Case("q4_k", 3, 256, 512), 2, Mixture(used=2), most)
    check(open_desk(without), Case("f16", 3, 67, 130), 2, Mixture(used=2), most)
