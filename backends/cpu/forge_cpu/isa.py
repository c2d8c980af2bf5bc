"""Which vector instructions the kernels are written in, here."""

from __future__ import annotations

import os
from enum import StrEnum

from forge.backend import BackendUnavailable

VARIABLE = "FORGE_CPU_ISA"


class Isa(StrEnum):
    """What a kernel's inner loop is written for, from the plainest up."""

    GENERIC = "generic"
    AVX2 = "avx2"
    AVX512VNNI = "avx512vnni"


_NEEDS = {
    Isa.AVX512VNNI: ("avx512f", "avx512bw", "avx512vl", "avx512vnni", "f16c", "fma"),
    Isa.AVX2: ("avx2", "f16c", "fma"),
    Isa.GENERIC: (),
}


def current() -> Isa:
    """The one that FORGE_CPU_ISA names, or the best that this processor has.

    BackendUnavailable for a name that is none, or for one that this processor lacks.
    """
    found = [isa for isa, features in _NEEDS.items() if all(map(host_features().get, features))]
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


def host_features() -> dict[str, bool]:
    """By LLVM's names, whether the processor (and the kernel below it) has a feature."""
    from llvmlite import binding

    return dict(binding.get_host_cpu_features())
