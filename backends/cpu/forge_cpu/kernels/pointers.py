"""Addresses as pointers: `f32(args[2])[i]` in a kernel is `((float *)args[2])[i]`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from forge_cpu.kernels.vectors import prefetch

_HALF = ir.HalfType()
_FLOAT = ir.FloatType()
_INT16 = ir.IntType(16)
_INT64 = ir.IntType(64)


def _pointer_to(element: Any) -> Any:
    @intrinsic
    def pointer(typing: Any, address: Any) -> Any:
        """The address as a pointer, for reading and writing by index."""
        del typing, address

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = context.get_value_type(signature.return_type)
            return builder.inttoptr(arguments[0], kind)

        return types.CPointer(element)(types.int64), generate

    return pointer


f32 = _pointer_to(types.float32)
f64 = _pointer_to(types.float64)
i8 = _pointer_to(types.int8)
u8 = _pointer_to(types.uint8)
i16 = _pointer_to(types.int16)
u16 = _pointer_to(types.uint16)
i32 = _pointer_to(types.int32)
u32 = _pointer_to(types.uint32)
i64 = _pointer_to(types.int64)


@intrinsic
def address_of(typing: Any, pointer: Any) -> Any:
    """A pointer as the number that it is."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.ptrtoint(arguments[0], _INT64)

    return types.int64(pointer), generate


@intrinsic
def float_of(typing: Any, bits: Any) -> Any:
    """The float64 whose bits an argument holds: how `Program.add` passes a float."""
    del typing, bits

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def load_f16(typing: Any, address: Any, index: Any) -> Any:
    """Element `index` of the half-precision numbers at `address`, as float32."""
    del typing, address, index

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        base = builder.inttoptr(arguments[0], _HALF.as_pointer())
        half = builder.load(builder.gep(base, [arguments[1]]), align=2)
        return builder.fpext(half, _FLOAT)

    return types.float32(types.int64, types.int64), generate


@intrinsic
def store_f16(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Put a float32, rounded to half precision, at `index` of the numbers at `address`."""
    del typing, address, index, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        base = builder.inttoptr(arguments[0], _HALF.as_pointer())
        half = builder.fptrunc(arguments[2], _HALF)
        builder.store(half, builder.gep(base, [arguments[1]]), align=2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32), generate


@intrinsic
def float_from_bits(typing: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""
    del typing, bits

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.bitcast(arguments[0], _FLOAT)

    return types.float32(types.int32), generate


@intrinsic
def bits_of_float(typing: Any, value: Any) -> Any:
    """The 32 bits of a float32."""
    del typing, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.bitcast(arguments[0], cgutils.int32_t)

    return types.int32(types.float32), generate


@intrinsic
def fetch(typing: Any, address: Any) -> Any:
    """Have the cache line at an address fetched; any address will do."""
    del typing, address

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        prefetch(builder, arguments[0], 0)
        return context.get_dummy_value()

    return types.void(types.int64), generate
