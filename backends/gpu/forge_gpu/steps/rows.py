"""select_rows, and rope as a node of its own."""

from __future__ import annotations

import struct

from forge_gpu.memory import Region
from forge_gpu.steps.shape import ceil
from forge_gpu.tape import Activation, Tape

_THREADS = 64


def select_rows(tape: Tape, x: Activation, out: Activation) -> None:
    """Record the rows of x that the frame lists; out is not x."""
    tape.run(
        "select_rows",
        [tape.frame, x.region, out.region],
        (ceil(x.width, _THREADS), out.most, 1),
        writes=[2],
        push=struct.pack("I", x.width),
        constants=(_THREADS, 1),
    )


def rope(
    tape: Tape,
    x: Activation,
    out: Activation,
    heads: int,
    frequencies: Region,
    magnitude: float = 1.0,
    style: str = "norm",
) -> None:
    """Record the rotation of every head; frequencies [pairs] are float32. out may be x.

    A region of frequencies has as many bytes as there are pairs, times 4.
    """
    size, pairs = x.width // heads, frequencies.size // 4
    tape.run(
        "rope",
        [tape.frame, x.region, frequencies, out.region],
        (ceil(heads * (size - pairs), _THREADS), x.most, 1),
        writes=[3],
        push=struct.pack("IIIIf", heads, size, pairs, int(style == "neox"), magnitude),
        constants=(_THREADS, 1),
    )
