"""Rows of a table by id."""

from __future__ import annotations

import struct

from forge_gpu.matrices import Matrix
from forge_gpu.tape import FIELDS, Activation, Tape

_THREADS = 64


def embed(tape: Tape, table: Matrix, out: Activation, field: str = "tokens") -> None:
    """Write the rows of a field of the frame to `out`.

    Ids that are no row of the table leave their row of `out` as it was: check them on the host.
    """
    pieces = -(-table.k // (16 if table.quantised else 4))
    numbers = out.counter, FIELDS.index(field)
    for part in table.parts:
        tape.run(
            f"embed.TYPE={table.kind}",
            [tape.frame, part.region, out.region],
            (-(-pieces // _THREADS), out.most, 1),
            writes=[2],
            push=part.packed() + struct.pack("5I", part.first, part.rows, table.k, *numbers),
            constants=(_THREADS, 1),
        )
