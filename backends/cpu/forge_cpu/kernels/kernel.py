"""Marks functions as kernels, and compiles them to object files.

A kernel is `void(int64 *args, int64 thread, int64 threads)`: it takes its share of the work from
the last two, finds sizes and addresses in args, allocates nothing and raises nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

from llvmlite import binding, ir
from numba import types
from numba.core import compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu_options import FastMathOptions
from numba.core.registry import cpu_target

from forge_cpu.isa import Isa
from forge_cpu.kernels.externals import link_externals

Function: TypeAlias = Callable[[Any, Any, Any], None]

_ARGUMENTS = (types.CPointer(types.int64), types.int64, types.int64)
CONTRACT = frozenset({"contract"})
"""a * b + c may round once. Nothing else may change: NaN and the order of sums are promises."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function, or how to make it for an instruction set; and the liberties its sums take."""

    build: Callable[[Isa], Function]
    fastmath: frozenset[str]


def kernel(function: Function | None = None, *, fastmath: frozenset[str] = CONTRACT) -> Any:
    """Mark a function as a kernel: `@kernel`, or `@kernel(fastmath={...})` with LLVM's flags."""
    if function is None:
        return lambda given: Kernel(lambda _: given, frozenset(fastmath))
    return Kernel(lambda _: function, fastmath)


def kernel_for_isa(build: Callable[[Isa], Function]) -> Kernel:
    """Mark a function that returns the kernel for an instruction set."""
    return Kernel(build, CONTRACT)


def compile_kernel(name: str, symbol: str, isa: Isa) -> bytes:
    """The object file of the kernel "module.function", which defines `symbol`."""
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(f"{__package__}.{module}"), attribute)
    if not isinstance(found, Kernel):
        raise TypeError(f"{name} is {found!r}, not a kernel")
    return _object_file(found.build(isa), found.fastmath, symbol)


def _object_file(function: Function, fastmath: frozenset[str], symbol: str) -> bytes:
    context = cpu_target.target_context
    with global_compiler_lock:
        compiled = compiler.compile_extra(
            cpu_target.typing_context,
            context,
            function,
            _ARGUMENTS,
            types.void,
            _flags(fastmath),
            {},
        )
        module = binding.parse_assembly(compiled.library.get_llvm_str())
        module.link_in(binding.parse_assembly(str(_entry(context, compiled.fndesc, symbol))))
        link_externals(module)
        # Numba's names are unique in one process only; code from the cache has others' names.
        for item in (*module.functions, *module.global_variables):
            if not item.is_declaration and item.name != symbol:
                item.linkage = "internal"
        machine = _machine(context)
        _optimise(module, machine)
        code: bytes = machine.emit_object(module)
    return code


def _machine(context: Any) -> Any:
    """This processor, as numba sees it; the code goes where a JIT's code goes."""
    _, cpu, features = context.codegen().magic_tuple()
    target = binding.Target.from_triple(binding.get_process_triple())
    # As numba has it: code on x86 is placed where it stays, elsewhere as the system likes it.
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )


def _optimise(module: Any, machine: Any) -> None:
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    module.verify()


def _flags(fastmath: frozenset[str]) -> Any:
    """As for nopython mode, without what only Python callers need and without allocation."""
    flags = compiler.Flags()
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(set(fastmath))
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.nrt = False
    return flags


def _entry(context: Any, described: Any, symbol: str) -> Any:
    """A module with the C function that calls the compiled one, whose status is always good."""
    module = context.create_module(f"{symbol}.entry")
    convention = context.call_conv
    callee = ir.Function(
        module,
        convention.get_function_type(described.restype, described.argtypes),
        described.llvm_func_name,
    )
    arguments = [context.get_value_type(kind) for kind in described.argtypes]
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    convention.call_function(builder, callee, described.restype, described.argtypes, entry.args)
    builder.ret_void()
    return module
