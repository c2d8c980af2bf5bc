"""rms_norm and layer_norm, with what is added before them."""

from __future__ import annotations

import struct

from forge_gpu.memory import Region
from forge_gpu.steps.shape import ceil, lanes, threads
from forge_gpu.tape import Activation, Tape


def norm(
    tape: Tape,
    kind: str,
    x: Activation,
    out: Activation,
    *,
    epsilon: float,
    size: int = 0,
    weight: Region | None = None,
    bias: Region | None = None,
    residual: Activation | None = None,
    added: Activation | None = None,
) -> None:
    """Record a norm of `kind` rms or layer over runs of `size` columns; 0 is the whole width.

    Weight and bias are float32 [size]. With a residual it is of x + residual, which goes to
    `added`; that may be x or the residual itself, and so may `out`.
    """
    run = size or x.width
    extra, sums = residual or x, added or out
    if (residual is None) != (added is None):
        raise ValueError("a residual needs a place for the sum, and a sum a residual")
    group = threads(tape, ceil(run, 4))
    subgroup = lanes(tape.features)
    tape.run(
        f"norm.KIND={kind}.SUBGROUPS={int(subgroup > 0)}",
        [
            tape.frame,
            x.region,
            extra.region,
            weight or tape.frame,
            bias or tape.frame,
            sums.region,
            out.region,
        ],
        (x.width // run, x.most, 1),
        writes=[5, 6],
        push=struct.pack("IIf", run, x.counter, epsilon),
        constants=(
            *(group, subgroup or 1, ceil(run, group)),
            *(int(residual is not None), int(weight is not None), int(bias is not None)),
        ),
        subgroup=subgroup,
    )
