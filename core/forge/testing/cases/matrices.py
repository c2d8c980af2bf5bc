"""Ops over matrices, in every weight type, at sizes that break tiling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from forge.gguf import tensor_type
from forge.graph import Attr, Op
from forge.testing.blocks import WEIGHT_TYPES
from forge.testing.cases.case import (
    POSITIONS,
    TOKEN_IDS,
    OpCase,
    Operand,
    Step,
    WeightData,
    activations,
)

SHAPES = (
    (1, 1, 0),
    (1, 67, 1),
    (3, 33, 2),
    (5, 17, 1),
    (1, 4097, 0),
    (2, 3, 3),
    (9, 16, 2),
    (17, 5, 1),
    (33, 129, 0),
    (65, 64, 2),
    (130, 31, 1),
)
"""Tokens, rows of the weight, and which of the widths: one, odd, prime, one over a power of two,
tall, wide."""
COMMON = ("f32", "f16", "q4_0", "q4_1", "q8_0", "q4_k", "q6_k")
"""Of these the quick subset has several shapes, of the others one."""


CROWD = 1031
"""Tokens: as many as a run takes, and then some, for tiles along them that few never fill."""
TALL = 65555
"""Rows of a vocabulary, which no grid of 65535 workgroups holds one by one."""


def widths(kind: str) -> tuple[int, int, int, int]:
    """Columns of a weight: the least, two that are odd in blocks, and many."""
    block = tensor_type(kind).block_size
    if block == 1:
        return 1, 67, 257, 8193
    return block, 3 * block, 5 * block, 8192 + block


def _gain(columns: int) -> float:
    """A standard deviation that keeps sums near one, and that NVFP4 can express."""
    return max(1 / math.sqrt(columns), 1 / 64)


def matmul() -> Iterator[OpCase]:
    """Every type at every shape."""
    for kind in WEIGHT_TYPES:
        for index, (tokens, rows, which) in enumerate(SHAPES):
            columns = widths(kind)[which]
            repeats = max(1, min(16, 64 // (tokens * rows)))
            yield OpCase(
                Op.MATMUL,
                kind,
                f"{tokens}x{rows}x{columns}",
                {
                    "x": activations(columns),
                    "weight": WeightData(kind, (rows, columns), _gain(columns)),
                },
                (Step(tokens),) * repeats,
                quick=index == 1 or (kind in COMMON and index in (0, 2)),
            )
        if kind in COMMON:
            few = tuple(map(Step, range(1, 17)))  # kernels for two, four or eight tokens
            yield _matmul(kind, "growing", 19, few)
            yield _matmul(kind, "crowd", 19, (Step(CROWD),), quick=True)
        if tensor_type(kind).block_size <= 32 and kind in COMMON:
            yield _matmul(kind, "tall", TALL, (Step(1), Step(3)))


def _matmul(
    kind: str, label: str, rows: int, steps: tuple[Step, ...], *, quick: bool = False
) -> OpCase:
    columns = math.lcm(32, tensor_type(kind).block_size)
    weight = WeightData(kind, (rows, columns), _gain(columns))
    operands: dict[str, Operand] = {"x": activations(columns), "weight": weight}
    return OpCase(Op.MATMUL, kind, label, operands, steps, quick=quick)


def embed() -> Iterator[OpCase]:
    """Every type; tables of one row, odd and prime sizes."""
    for kind in WEIGHT_TYPES:
        for index, (tokens, rows, which) in enumerate(((5, 257, 1), (1, 1, 0), (33, 31, 2))):
            columns = widths(kind)[which]
            yield OpCase(
                Op.EMBED,
                kind,
                f"{tokens}x{rows}x{columns}",
                {"tokens": TOKEN_IDS, "table": WeightData(kind, (rows, columns))},
                (Step(tokens), Step(1)),
                quick=index == 0 and kind in COMMON,
            )
    learned: dict[str, Operand] = {"positions": POSITIONS, "table": WeightData("f32", (33, 65))}
    steps = (Step(17), Step(1, 17), Step(15, 18))
    yield OpCase(Op.EMBED, "f32", "positions", learned, steps, quick=True)


def experts() -> Iterator[OpCase]:
    """Every type; then each way to choose and to weigh."""
    for kind in WEIGHT_TYPES:
        yield _experts(kind, "", 5, 4, 2, quick=kind in COMMON)
        yield _experts(kind, "many", 17, 7, 3)
    ways: tuple[tuple[str, Mapping[str, Attr]], ...] = (
        ("softmax", {}),
        ("unnormalised", {"normalize": False}),
        ("sigmoid", {"gating": "sigmoid"}),
        ("selected", {"gating": "softmax_selected"}),
        ("gelu", {"activation": "gelu"}),
        ("factor", {"factor": 2.5}),
    )
    for name, attrs in ways:
        yield _experts("f32", name, 9, 4, 2, attrs, quick=True)
    shared: dict[str, Attr] = {"gating": "sigmoid", "normalize": False}
    yield _experts("f32", "shared", 9, 1, 1, shared, quick=True)
    clamped: dict[str, Attr] = {"activation": "swiglu_oai", "gating": "softmax_selected"}
    for kind in ("f32", "mxfp4"):
        yield _experts(kind, "biased", 9, 4, 2, quick=True, biased=True)
        yield _experts(kind, "clamped", 9, 4, 2, clamped, quick=True, biased=True, loud=4.0)
    yield _experts("f32", "one", 9, 4, 1)
    yield _experts("f32", "all", 9, 4, 4)
    for kind in ("f32", "q8_0"):
        yield _small_experts(kind, "128of8", Step(9), 128, 8)
        yield _small_experts(kind, "crowd", Step(CROWD), 8, 2)


def _small_experts(kind: str, label: str, step: Step, count: int, used: int) -> OpCase:
    """Many of them, or many tokens: the matrices are the least of the type."""
    width, inner = 32, 64
    operands: dict[str, Operand] = {
        "x": activations(width),
        "scores": activations(count),
        "gate": WeightData(kind, (count, inner, width), _gain(width)),
        "up": WeightData(kind, (count, inner, width), _gain(width)),
        "down": WeightData(kind, (count, width, inner), _gain(inner)),
    }
    return OpCase(Op.EXPERTS, kind, label, operands, (step,), {"used": used})


def _experts(
    kind: str,
    label: str,
    tokens: int,
    count: int,
    used: int,
    attrs: Mapping[str, Attr] | None = None,
    *,
    quick: bool = False,
    biased: bool = False,
    loud: float = 1.0,
) -> OpCase:
    width, inner = widths(kind)[1], widths(kind)[2]
    if widths(kind)[0] > 32:  # keep the slow types small
        width, inner = widths(kind)[0], 2 * widths(kind)[0]
    operands: dict[str, Operand] = {"x": activations(width), "scores": activations(count)}
    chosen: dict[str, Attr] = {"used": used, **(attrs or {})}
    shapes = {"gate": (inner, width), "up": (inner, width), "down": (width, inner)}
    operands |= {
        name: WeightData(kind, (count, *shape), loud * _gain(shape[1]))
        for name, shape in shapes.items()
    }
    biases = {
        f"{name}_bias": WeightData("f32", (count, shape[0])) for name, shape in shapes.items()
    }
    return OpCase(
        Op.EXPERTS,
        kind,
        label or f"{count}of{used}",
        operands | biases if biased else operands,
        (Step(tokens), Step(1)),
        chosen,
        quick=quick,
    )
