"""LLVM values that read like numbers: what the intrinsics of the kernels are written with.

A Number is a float32, or a vector of them, while code is generated; every operation on it emits one
instruction. One function so serves single numbers, which LLVM may vectorise by itself, and vectors
whose layout the kernel chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from forge_cpu.kernels import vectors
from forge_cpu.kernels.vectors import I8, I32, I64, word

LANES = 16
"""Numbers of a vector: one register of AVX-512, two of AVX2, four of SSE and NEON."""


@dataclass(frozen=True, slots=True)
class Number:
    """One float32 or a vector of them; a Python number meets it as a constant."""

    builder: ir.IRBuilder
    value: ir.Value

    def __add__(self, other: Number | float) -> Number:
        return Number(self.builder, self.builder.fadd(self.value, self._lift(other)))

    def __sub__(self, other: Number | float) -> Number:
        return Number(self.builder, self.builder.fsub(self.value, self._lift(other)))

    def __rsub__(self, other: float) -> Number:
        return Number(self.builder, self.builder.fsub(self._lift(other), self.value))

    def __mul__(self, other: Number | float) -> Number:
        return Number(self.builder, self.builder.fmul(self.value, self._lift(other)))

    def __truediv__(self, other: Number | float) -> Number:
        return Number(self.builder, self.builder.fdiv(self.value, self._lift(other)))

    def __rtruediv__(self, other: float) -> Number:
        return Number(self.builder, self.builder.fdiv(self._lift(other), self.value))

    def __neg__(self) -> Number:
        return Number(self.builder, self.builder.fneg(self.value))

    def times_plus(self, factor: Number | float, term: Number | float) -> Number:
        """self * factor + term, rounded once where the processor can."""
        arguments = [self.value, self._lift(factor), self._lift(term)]
        return Number(self.builder, call(self.builder, "llvm.fmuladd", arguments))

    def magnitude(self) -> Number:
        """Without its sign."""
        return Number(self.builder, call(self.builder, "llvm.fabs", [self.value]))

    def with_sign_of(self, other: Number) -> Number:
        """Its magnitude under the sign of another."""
        return Number(self.builder, call(self.builder, "llvm.copysign", [self.value, other.value]))

    def below(self, other: Number | float) -> ir.Value:
        """Whether it is less; a NaN is not."""
        return self.builder.fcmp_ordered("<", self.value, self._lift(other))

    def where(self, condition: ir.Value, other: Number | float) -> Number:
        """Itself where the condition holds, elsewhere the other."""
        return Number(self.builder, self.builder.select(condition, self.value, self._lift(other)))

    def at_least(self, other: Number | float) -> Number:
        """The larger; a NaN stays."""
        return Number(self.builder, self._lift(other)).where(self.below(other), self)

    def at_most(self, other: Number | float) -> Number:
        """The smaller; a NaN stays."""
        more = self.builder.fcmp_ordered(">", self.value, self._lift(other))
        return Number(self.builder, self._lift(other)).where(more, self)

    def bits(self) -> ir.Value:
        """The same bits as integers."""
        return self.builder.bitcast(self.value, like(self.value.type, I32))

    def _lift(self, other: Number | float) -> ir.Value:
        if isinstance(other, Number):
            return other.value
        return constant(self.value.type, float(other))


def like(shape: ir.Type, element: ir.Type) -> ir.Type:
    """A type with the lanes of another."""
    return ir.VectorType(element, shape.count) if isinstance(shape, ir.VectorType) else element


def constant(kind: ir.Type, value: float) -> ir.Constant:
    """The same number in every lane."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [constant(kind.element, value)] * kind.count)
    return ir.Constant(kind, value)


def call(builder: ir.IRBuilder, name: str, arguments: list[ir.Value]) -> ir.Value:
    """An intrinsic of LLVM whose arguments and result are all of one type."""
    kind = arguments[0].type
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    full = f"{name}.{suffix}"
    function = builder.module.globals.get(full)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(arguments)), full)
    return builder.call(function, arguments)


def splat(builder: ir.IRBuilder, value: ir.Value, lanes: int = LANES) -> ir.Value:
    """One number in all lanes."""
    return vectors.splat(builder, value, lanes)


def at(
    builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, offset: ir.Value | int = 0
) -> ir.Value:
    """A pointer to `kind` at a byte offset from an address."""
    if isinstance(offset, int):
        offset = word(offset)
    base = builder.inttoptr(address, I8.as_pointer())
    return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())


def load(
    builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, offset: ir.Value | int = 0
) -> ir.Value:
    """What lies at a byte offset from an address, wherever it is aligned."""
    return builder.load(at(builder, address, kind, offset), align=1)


def store(
    builder: ir.IRBuilder, value: ir.Value, address: ir.Value, offset: ir.Value | int = 0
) -> None:
    """Write a value at a byte offset from an address."""
    builder.store(value, at(builder, address, value.type, offset), align=1)


def fold(
    builder: ir.IRBuilder, vector: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]
) -> ir.Value:
    """The lanes joined to one number: halves with halves, always in the same order."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        halves = [
            builder.shuffle_vector(
                vector,
                ir.Constant(vector.type, ir.Undefined),
                ir.Constant(ir.VectorType(I32, lanes), list(range(start, start + lanes))),
            )
            for start in (0, lanes)
        ]
        vector = join(*halves)
    return builder.extract_element(vector, ir.Constant(I32, 0))


def total(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The sum of the lanes."""
    return fold(builder, vector, builder.fadd)


def largest(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The largest of the lanes; a NaN may be lost."""

    def larger(a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return fold(builder, vector, larger)


@contextmanager
def ranged(
    builder: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int = 1
) -> Iterator[ir.Value]:
    """A loop: its index, with the builder in its body."""
    with cgutils.for_range_slice(builder, start, stop, word(step), intp=I64) as (index, _):
        yield index
