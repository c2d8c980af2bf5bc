"""Kernels by name, as addresses of machine code in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from llvmlite import binding

from forge.backend import BackendError, Progress
from forge_cpu import isa
from forge_cpu.cache import CodeCache, default_cache
from forge_cpu.compilers import compile_several, symbol
from forge_cpu.isa import Isa


class CannotCompile(BackendError):
    """The compiler does not load, or does not take the kernel."""


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A numba that does not fit here fails in many ways: all are CannotCompile."""
    try:
        yield
    except Exception as error:
        raise CannotCompile(f"{what}: {type(error).__name__}: {error}") from error


def every() -> set[str]:
    """The names of all kernels there are; CannotCompile."""
    with _told("numba"):
        from forge_cpu.kernels.every import every_kernel  # imports it

        return every_kernel()


class Library:
    """Owns the machine code: taken from the cache, or compiled when a kernel is first asked for."""

    def __init__(self, chosen: Isa | None = None, cache: CodeCache | None = None) -> None:
        self.isa = chosen or isa.current()
        self._cache = cache or default_cache(self.isa)
        self._addresses: dict[str, int] = {}
        self._lock = threading.Lock()
        self._engine = _engine()

    @property
    def folder(self) -> Path:
        """Where code is kept."""
        return self._cache.folder

    def address(self, name: str) -> int:
        """Where the kernel "module.function" of forge_cpu.kernels begins; or CannotCompile."""
        with self._lock:
            if name not in self._addresses and not self._cached(name):
                self._add(name, self._compiled(name))
            return self._addresses[name]

    def prepare(self, names: Iterable[str], progress: Progress) -> None:
        """Have all of these ready; each that was in no cache is a piece of finished work."""
        with self._lock:
            wanted = sorted({*names} - self._addresses.keys())
            missing = [name for name in wanted if not self._cached(name)]
        if missing:
            progress("compile", 0, len(missing))
        done = 0
        with closing(compile_several(missing, self.isa)) as compiled:
            for name, code in compiled:
                with self._lock:
                    self._add(name, code)
                done += 1
                progress("compile", done, len(missing), name)
        for name in missing:
            if name not in self._addresses:  # no process could: what is wrong shows here
                self.address(name)
                done += 1
                progress("compile", done, len(missing), name)

    def _compiled(self, name: str) -> bytes:
        with _told(name):
            # Late: where all code is cached, numba's 0.4 s and 90 MB are spared.
            from forge_cpu.kernels.kernel import compile_kernel

            return compile_kernel(name, symbol(name), self.isa)

    def _cached(self, name: str) -> bool:
        """Link it if it is in the cache."""
        code = self._cache.load(name)
        if code is not None:
            self._link(name, code)
        return code is not None

    def _add(self, name: str, code: bytes) -> None:
        self._cache.store(name, code)
        self._link(name, code)

    def _link(self, name: str, code: bytes) -> None:
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        address: int = self._engine.get_function_address(symbol(name))
        if not address:
            raise RuntimeError(f"the code of kernel {name} does not define {symbol(name)}")
        self._addresses[name] = address


def _engine() -> Any:
    """Links object files into this process; compiles nothing itself.

    OSError where the system forbids memory that is written and then run (SELinux's execmem).
    """
    binding.check_jit_execution()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
