"""What threads meet by: atomic words, a pause, a clock, and the C library's semaphores."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)
_ORDER = "seq_cst"


@intrinsic
def atomic_add(typing: Any, address: Any, value: Any) -> Any:
    """Add to the int64 at `address`; returns what was there before."""
    del typing, address, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        word = builder.inttoptr(arguments[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", word, arguments[1], _ORDER)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def atomic_load(typing: Any, address: Any) -> Any:
    """The int64 at `address`, as the other threads see it."""
    del typing, address

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        word = builder.inttoptr(arguments[0], _INT64.as_pointer())
        return builder.load_atomic(word, _ORDER, 8)

    return types.int64(types.int64), generate


@intrinsic
def atomic_store(typing: Any, address: Any, value: Any) -> Any:
    """Set the int64 at `address` for all threads."""
    del typing, address, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        word = builder.inttoptr(arguments[0], _INT64.as_pointer())
        builder.store_atomic(arguments[1], word, _ORDER, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature, arguments
        machine = platform.machine()
        if machine in ("x86_64", "AMD64"):
            builder.call(_declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        elif machine in ("aarch64", "arm64"):
            hint = _declared(builder, "llvm.aarch64.hint", ir.VoidType(), [_INT32])
            builder.call(hint, [ir.Constant(_INT32, 1)])  # 1 is YIELD
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def cycles(typing: Any) -> Any:
    """The processor's clock: it counts evenly, in units of its own."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature, arguments
        return builder.call(_declared(builder, "llvm.readcyclecounter", _INT64, []), [])

    return types.int64(), generate


def _c_function(name: str, *kinds: Any) -> Any:
    """An intrinsic that calls int name(kinds...) of the C library."""
    native = [context_type for _, context_type in kinds]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.call(_declared(builder, name, _INT32, native), arguments)

    if kinds:

        @intrinsic
        def call(typing: Any, argument: Any) -> Any:
            """The C library's function."""
            del typing, argument
            return types.int32(types.int64), generate

    else:

        @intrinsic
        def call(typing: Any) -> Any:
            """The C library's function."""
            del typing
            return types.int32(), generate

    return call


def _declared(builder: Any, name: str, result: Any, arguments: Any) -> Any:
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, name)


_ADDRESS = (types.int64, _INT64)  # a pointer argument, as every 64-bit calling convention passes it
sched_yield = _c_function("sched_yield")
sem_wait = _c_function("sem_wait", _ADDRESS)
sem_post = _c_function("sem_post", _ADDRESS)


@intrinsic
def call_kernel(typing: Any, function: Any, block: Any, thread: Any, threads: Any) -> Any:
    """Call the kernel at address `function` with the argument block at address `block`."""
    del typing, function, block, thread, threads

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        words = _INT64.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [words, _INT64, _INT64])
        target = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(target, [builder.inttoptr(arguments[1], words), *arguments[2:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
