"""Registers the CPU backend."""

from forge import BackendSpec, hookimpl


@hookimpl
def forge_backends() -> list[BackendSpec]:
    """One backend; it needs no driver, so it is the floor."""
    return [BackendSpec("cpu", "forge_cpu.backend:CpuBackend", priority=0, floor=True)]
