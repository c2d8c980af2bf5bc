"""The names of all kernels there are."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import forge_cpu.kernels as package
from forge_cpu.kernels.kernel import Kernel

_NO_MODEL = ("trial", "measure")
"""Modules for tests and benchmarks."""


def every_kernel() -> set[str]:
    """Each as "module.function", by importing their modules."""
    modules = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in _NO_MODEL]
    return {
        f"{module}.{name}"
        for module in modules
        for name, found in vars(import_module(f"{package.__name__}.{module}")).items()
        if isinstance(found, Kernel)
    }
