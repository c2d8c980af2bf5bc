"""Registers the CPU backend."""

from forge import BackendSpec, hookimpl

ENV = {
    # log2 of the cycles for which OpenBLAS's threads wait in a loop before they sleep (its USAGE.md
    # gives 4 to 30, 26 by default). While they spin they take the cores of those who would work:
    # with four replies at once on two cores, 4 took decode from 2 to 9 tokens a second. 14 does as
    # well there, and costs a reply that has the machine to itself less.
    "OPENBLAS_THREAD_TIMEOUT": "14",
}


@hookimpl
def forge_backends() -> list[BackendSpec]:
    """One backend; it needs no driver, so it is the floor."""
    return [BackendSpec("cpu", "forge_cpu.backend:CpuBackend", priority=0, env=ENV, floor=True)]
