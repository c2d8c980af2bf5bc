"""Which vector instructions the kernels are written in, here."""

from __future__ import annotations

import os
from enum import StrEnum

from forge.backend import BackendUnavailable

VARIABLE = "FORGE_CPU_ISA"


class Isa(StrEnum):
    """What a kernel's inner loop is written for, from the plainest up."""

    GENERIC = "generic"
    NEON = "neon"
    AVX2 = "avx2"
    AVX512VNNI = "avx512vnni"


_NEEDS = {
    Isa.AVX512VNNI: ("avx512f", "avx512bw", "avx512vl", "avx512vnni", "f16c", "fma"),
    Isa.AVX2: ("avx2", "f16c", "fma"),
    Isa.NEON: ("neon", "dotprod"),
    Isa.GENERIC: (),
}


def current() -> Isa:
    """The one that FORGE_CPU_ISA names, or the best that this processor has.

    BackendUnavailable for a name that is none, or for one that this processor lacks.
    """
    found = available()
    name = os.environ.get(VARIABLE, "")
    if not name:
        return found[0]
    if name not in [*Isa]:
        raise BackendUnavailable(f"{VARIABLE}={name}: known are {', '.join(Isa)}")
    if name not in found:
        raise BackendUnavailable(
            f"{VARIABLE}={name}: this processor offers {', '.join(found)}\nUnset {VARIABLE}."
        )
    return Isa(name)


def available() -> list[Isa]:
    """Those that this processor has, the best one first."""
    features = host_features()
    return [isa for isa, needed in _NEEDS.items() if all(map(features.get, needed))]


def host_features() -> dict[str, bool]:
    """By LLVM's names, whether the processor (and the kernel below it) has a feature."""
    from llvmlite import binding

    return dict(binding.get_host_cpu_features())
