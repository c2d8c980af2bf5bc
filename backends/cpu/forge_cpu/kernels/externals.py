"""Functions written in LLVM's own language, for kernels to call.

Numba sees a call of something outside; the function joins the kernel's module when that is made
into an object file. Written in place it would be optimised with every function around it, and a
tile of a matrix product is most of what there is to optimise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from forge_cpu.kernels.vectors import I64

Emit = Callable[[Any, Sequence[Any]], None]
"""Given a builder and the arguments, writes the function's body."""

_ARGUMENTS = 5
_KIND = ir.FunctionType(ir.VoidType(), [I64] * _ARGUMENTS)
_emitters: dict[str, Emit] = {}


def external(name: str, emit: Emit) -> Any:
    """A function for kernels, of five int64 and no result. Equal names must mean equal bodies."""
    if name not in _emitters:
        _emitters[name] = emit
        # Numba links each function that it compiles, though nothing is run there.
        abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p)
        binding.add_symbol(name, abort.value)

    @intrinsic
    def call(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        """Call it."""
        del typing, a, b, c, d, e

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del signature
            function = builder.module.globals.get(name) or ir.Function(builder.module, _KIND, name)
            builder.call(function, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * _ARGUMENTS), generate

    return call


def link_externals(module: Any) -> None:
    """Give a module the functions that it calls."""
    declared = [f.name for f in module.functions if f.is_declaration and f.name in _emitters]
    for name in declared:
        part = ir.Module(name)
        function = ir.Function(part, _KIND, name)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        _emitters[name](builder, function.args)
        builder.ret_void()
        module.link_in(binding.parse_assembly(str(part)))
