"""LLVM's vectors: how they are loaded, spread and converted."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F16, F32 = ir.HalfType(), ir.FloatType()


def word(value: int) -> Any:
    """An int64 constant."""
    return ir.Constant(I64, value)


def vector(element: Any, lanes: int) -> Any:
    """The type of `lanes` elements."""
    return ir.VectorType(element, lanes)


def constant(element: Any, lanes: int, value: float) -> Any:
    """The same number in each lane."""
    return ir.Constant(vector(element, lanes), [value] * lanes)


def load(builder: Any, address: Any, offset: int, kind: Any) -> Any:
    """A value of `kind` from any address, aligned or not."""
    place = builder.add(address, word(offset)) if offset else address
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=1)


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """One value in each lane."""
    kind = vector(value.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, constant(I32, lanes, 0))


def call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic by its full name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def halves_to_floats(builder: Any, address: Any, offset: int, lanes: int) -> Any:
    """Half-precision numbers in memory as float32."""
    loaded = load(builder, address, offset, vector(I16, lanes))
    return builder.fpext(builder.bitcast(loaded, vector(F16, lanes)), vector(F32, lanes))


def prefetch(builder: Any, address: Any, offset: int) -> None:
    """Have the cache line at an address fetched; any address will do."""
    place = builder.inttoptr(builder.add(address, word(offset)), I8.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [place, *(ir.Constant(I32, n) for n in (0, 3, 1))])
