"""Ops that see a row at a time: norms, elementwise, rotation, gates, selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from forge.executable import Rows
from forge.graph import Attr, Op
from forge.testing.capabilities import NONE
from forge.testing.cases.case import (
    POSITIONS,
    ROW_IDS,
    OpCase,
    Operand,
    Step,
    WeightData,
    activations,
)

WIDTHS = (64, 1, 7, 127, 257, 1024, 4097, 65)
TOKENS = (3, 1, 33, 5, 17, 1, 2, 1031)
"""The last has more tokens than most runs take."""
MANY = 515, 8195
"""Tokens and columns: more numbers than 65535 workgroups of 64."""
VECTORS = ("f32", "f16")
HEAD_SIZES = (64, 80, 96, 128, 256)


def norms() -> Iterator[OpCase]:
    """Both norms, with and without weight and bias, over rows and over heads."""
    for op in (Op.RMS_NORM, Op.LAYER_NORM):
        attrs: Mapping[str, Attr] = {"epsilon": 1e-5}
        for index, (width, tokens) in enumerate(zip(WIDTHS, TOKENS, strict=True)):
            for kind in (*VECTORS, NONE):
                operands: dict[str, Operand] = {"x": activations(width)}
                if kind != NONE:
                    operands["weight"] = WeightData(kind, (width,), 0.3, 1.0)
                label = f"{tokens}x{width}"
                yield OpCase(op, kind, label, operands, (Step(tokens),), attrs, index == 0)
                if kind != NONE and op is Op.LAYER_NORM:
                    operands = {**operands, "bias": WeightData(kind, (width,), 0.3, 0.1)}
                    yield OpCase(op, kind, f"{label}-bias", operands, (Step(tokens),), attrs)
        for heads, size in ((4, 64), (3, 80), (1, 96), (7, 128), (2, 256)):
            per_head: dict[str, Operand] = {
                "x": activations(heads * size),
                "weight": WeightData("f32", (size,), 0.3, 1.0),
            }
            yield OpCase(op, "f32", f"{heads}heads-{size}", per_head, (Step(5),), attrs, heads == 4)
        large: dict[str, Operand] = {
            "x": activations(65),
            "weight": WeightData("f32", (65,), 0.3, 1.0),
        }
        yield OpCase(op, "f32", "large", large, (Step(3),), attrs, spread=1e4)
        yield OpCase(op, "f32", "small", large, (Step(3),), attrs, quick=True, spread=1e-4)
    yield OpCase(Op.RMS_NORM, NONE, "many", {"x": activations(MANY[1])}, (Step(MANY[0]),), attrs)


def elementwise() -> Iterator[OpCase]:
    """Sum and product of two activations, or of an activation and a row."""
    for op in (Op.ADD, Op.MUL):
        for index, (width, tokens) in enumerate(zip(WIDTHS, TOKENS, strict=True)):
            label, step = f"{tokens}x{width}", (Step(tokens),)
            pair = {"a": activations(width), "b": activations(width)}
            yield OpCase(op, NONE, label, pair, step, quick=index == 0)
            for kind in VECTORS:
                row: dict[str, Operand] = {
                    "a": activations(width),
                    "b": WeightData(kind, (width,), 1.0),
                }
                yield OpCase(op, kind, label, row, step, quick=index == 0)

    many = {"a": activations(MANY[1]), "b": activations(MANY[1])}
    yield OpCase(Op.ADD, NONE, "many", many, (Step(MANY[0]),))


def gates() -> Iterator[OpCase]:
    """Gated and plain activations, from tiny to saturated; softcap and scale."""
    kinds: tuple[tuple[Op, str, Mapping[str, Attr]], ...] = (
        (Op.SILU_MUL, NONE, {}),
        *((Op.GELU_MUL, how, {"approximation": how}) for how in ("tanh", "quick", "none")),
    )
    for op, column, attrs in kinds:
        for index, (width, tokens) in enumerate(zip(WIDTHS, TOKENS, strict=True)):
            gated = {"gate": activations(width), "up": activations(width)}
            steps, label = (Step(tokens),), f"{tokens}x{width}"
            yield OpCase(op, column, label, gated, steps, attrs, index == 0)
        alone = {"gate": activations(67)}
        yield OpCase(op, column, "alone", alone, (Step(5),), attrs, True)
        wide = {"gate": activations(67), "up": activations(67)}
        yield OpCase(op, column, "saturated", wide, (Step(5),), attrs, True, spread=60.0)
    many = {"gate": activations(MANY[1]), "up": activations(MANY[1])}
    yield OpCase(Op.SILU_MUL, NONE, "many", many, (Step(MANY[0]),))
    for width, tokens in zip(WIDTHS, TOKENS, strict=True):
        x, quick = {"x": activations(width)}, width == WIDTHS[0]
        for cap in (5.0, 50.0):
            label = f"{cap:g}-{tokens}x{width}"
            yield OpCase(Op.SOFTCAP, NONE, label, x, (Step(tokens),), {"cap": cap}, quick, 40.0)
        for factor in (0.125, -78.4):
            label, scaled = f"{factor:g}-{tokens}x{width}", {"factor": factor}
            yield OpCase(Op.SCALE, NONE, label, x, (Step(tokens),), scaled, quick)


def rope() -> Iterator[OpCase]:
    """Both pairings, all head sizes, partly rotated heads, near and far positions."""
    for style in ("norm", "neox"):
        for size in HEAD_SIZES:
            for heads in (1, 3, 32) if size == 64 else (5,):
                yield _rope(style, heads, size, size, (Step(7), Step(1, 7)), f"{heads}x{size}")
        yield _rope(style, 3, 96, 32, (Step(5, 3),), "partly")
        yield _rope(style, 1, 2, 2, (Step(3),), "least")
        for start in (255, 4095, 131071):
            yield _rope(style, 2, 64, 64, (Step(3, start),), f"at-{start}")
        yield _rope(style, 2, 64, 64, (Step(1031),), "crowd", quick=False)
        yield _rope(style, 2, 64, 64, (Step(5),), "magnitude", magnitude=1.3)


def _rope(
    style: str,
    heads: int,
    size: int,
    dims: int,
    steps: tuple[Step, ...],
    label: str,
    *,
    quick: bool = True,
    **more: Attr,
) -> OpCase:
    attrs: dict[str, Attr] = {
        "heads": heads,
        "style": style,
        "frequencies": tuple(10000.0 ** (-2 * i / dims) for i in range(dims // 2)),
        **more,
    }
    operands = {"x": activations(heads * size), "positions": POSITIONS}
    return OpCase(Op.ROPE, style, label, operands, steps, attrs, quick)


def select_rows() -> Iterator[OpCase]:
    """All, none, the last, one, in another order, and twice."""
    chosen: tuple[tuple[str, Rows], ...] = (
        ("all", "all"),
        ("none", "none"),
        ("last", "last"),
        ("first", [0]),
        ("reversed", list(range(16, -1, -1))),
        ("twice", [3, 3, 16, 0, 3]),
    )
    for width in (64, 1, 257):
        operands = {"x": activations(width), "rows": ROW_IDS}
        for label, rows in chosen:
            steps = (Step(17, rows=rows),)
            yield OpCase(
                Op.SELECT_ROWS, NONE, f"{label}-{width}", operands, steps, quick=width == 64
            )
