"""Kernels by name, as addresses of machine code in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from llvmlite import binding

from forge.backend import Progress
from forge_cpu import isa
from forge_cpu.cache import CodeCache, default_cache
from forge_cpu.isa import Isa


class Library:
    """Owns the machine code: taken from the cache, or compiled when a kernel is first asked for."""

    def __init__(self, chosen: Isa | None = None, cache: CodeCache | None = None) -> None:
        self.isa = chosen or isa.current()
        self._cache = cache or default_cache(self.isa)
        self._addresses: dict[str, int] = {}
        self._lock = threading.Lock()
        self._engine = _engine()

    def address(self, name: str) -> int:
        """Where the kernel "module.function" of forge_cpu.kernels begins."""
        with self._lock:
            if name not in self._addresses:
                self._addresses[name] = self._load(name)
            return self._addresses[name]

    def prepare(self, names: Iterable[str], progress: Progress) -> None:
        """Have all of these ready; each is a piece of finished work."""
        wanted = sorted({*names})
        for done, name in enumerate(wanted, 1):
            self.address(name)
            progress("compile", done, len(wanted), name)

    def _load(self, name: str) -> int:
        symbol = f"forge_{name.replace('.', '_')}"
        code = self._cache.load(name)
        if code is None:
            # Late: where all code is cached, numba's 0.4 s and 90 MB are spared.
            from forge_cpu.kernels.kernel import compile_kernel

            code = compile_kernel(name, symbol, self.isa)
            self._cache.store(name, code)
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        address: int = self._engine.get_function_address(symbol)
        if not address:
            raise RuntimeError(f"the code of kernel {name} does not define {symbol}")
        return address


def _engine() -> Any:
    """Links object files into this process; compiles nothing itself.

    OSError where the system forbids memory that is written and then run (SELinux's execmem).
    """
    binding.check_jit_execution()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
