"""What an instruction set can do, and what of it is switched off.

Every capability has a plain path behind it: FORGE_HIP_WITHOUT=dot,coopmat,graphs takes that one.
"""

from __future__ import annotations

import os
import re

from forge.backend import BackendUnavailable
from forge_gpu.features import Features

WITHOUT = "FORGE_HIP_WITHOUT"
NAMES = ("dot", "coopmat", "graphs")
"""Dot products of four bytes; matrix instructions (WMMA); captured graphs."""
_LANES = 32
"""Of a wave: kernels are compiled for wave32 always."""
_BINDING = (1 << 32) - 256
"""Kernels count bytes of a buffer in 32 bits."""
_DOT = re.compile(r"gfx(90[6-9a-f]|94.|1011|1012|103.|11..|12..)")
"""Have v_dot4_i32_i8 or its successor; gfx1010 and gfx1013 do not (LLVM's AMDGPUUsage)."""
_WMMA = re.compile(r"gfx(11|12)..")


def switched_off() -> frozenset[str]:
    """What the environment says to do without; a name that is none is BackendUnavailable."""
    asked = frozenset(name for name in os.environ.get(WITHOUT, "").split(",") if name)
    if unknown := asked - {*NAMES}:
        raise BackendUnavailable(
            f"{WITHOUT} names {', '.join(sorted(unknown))}; known are {', '.join(NAMES)}"
        )
    return asked


def features(arch: str, shared_bytes: int) -> Features:
    """Of an instruction set such as gfx1100, less what the environment switches off."""
    off = switched_off()
    return Features(
        subgroup=_LANES,
        subgroup_least=_LANES,
        subgroup_most=_LANES,
        shared_bytes=shared_bytes,
        storage_bytes=_BINDING,
        subgroups=True,
        sizes=True,
        dot=bool(_DOT.fullmatch(arch)) and "dot" not in off,
        half=True,
        coopmat=bool(_WMMA.fullmatch(arch)) and "coopmat" not in off,
    )
