"""Sums, products, gates, softcap and scale: a number of each activation, and one comes out."""

from __future__ import annotations

import struct

from forge_gpu.memory import Region
from forge_gpu.steps.shape import ceil
from forge_gpu.tape import Activation, Tape

_THREADS, _EACH = 64, 4


def add(tape: Tape, a: Activation, b: Activation | Region, out: Activation) -> None:
    """Record a + b; a region is a weight of one row, in float32."""
    _elementwise(tape, "add", a, b, out)


def mul(tape: Tape, a: Activation, b: Activation | Region, out: Activation) -> None:
    """Record a * b; a region is a weight of one row, in float32."""
    _elementwise(tape, "mul", a, b, out)


def silu_mul(tape: Tape, gate: Activation, up: Activation | Region | None, out: Activation) -> None:
    """Record silu(gate) * up, or silu alone."""
    _elementwise(tape, "silu", gate, up, out)


def gelu_mul(
    tape: Tape,
    gate: Activation,
    up: Activation | Region | None,
    out: Activation,
    *,
    approximation: str,
) -> None:
    """Record gelu(gate) * up, or gelu alone; `approximation` is tanh, quick or none."""
    _elementwise(tape, f"gelu_{approximation}", gate, up, out)


def softcap(tape: Tape, x: Activation, out: Activation, *, cap: float) -> None:
    """Record cap * tanh(x / cap)."""
    _elementwise(tape, "softcap", x, None, out, cap)


def scale(tape: Tape, x: Activation, out: Activation, *, factor: float) -> None:
    """Record x times a constant."""
    _elementwise(tape, "scale", x, None, out, factor)


def _elementwise(
    tape: Tape,
    op: str,
    a: Activation,
    b: Activation | Region | None,
    out: Activation,
    factor: float = 0.0,
) -> None:
    second, kind = (b, 2) if isinstance(b, Region) else (b.region, 1) if b else (a.region, 0)
    tape.run(
        f"elementwise.OP={op}",
        [tape.frame, a.region, second, out.region],
        (ceil(a.width, _THREADS * _EACH), a.most, 1),
        writes=[3],
        push=struct.pack("IIf", a.width, a.counter, factor),
        constants=(_THREADS, 1, kind),
    )
