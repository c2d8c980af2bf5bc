"""Which values of a run of one token each thread makes for itself: nobody waits for them."""

from __future__ import annotations

from forge.backend import Op
from forge_cpu.compiled.shared import Shared

_COLUMNS = 4096
"""Up to which width that takes about as long as a wait."""
_CURVED_COLUMNS = 1024
"""The same where a column costs an exponential."""
_MOST = {
    **dict.fromkeys((Op.EMBED, Op.RMS_NORM, Op.LAYER_NORM, Op.ADD, Op.MUL, Op.SCALE), _COLUMNS),
    **dict.fromkeys((Op.ROPE, Op.ATTENTION, Op.SELECT_ROWS), _COLUMNS),
    **dict.fromkeys((Op.SILU_MUL, Op.GELU_MUL, Op.SOFTCAP), _CURVED_COLUMNS),
}


def own_values(shared: Shared) -> frozenset[str]:
    """The names of these values; never an output."""
    return frozenset(
        step.out
        for step in shared.steps
        if shared.width(step.out) <= _MOST.get(step.node.op, 0)
        and step.out not in shared.graph.outputs
    )
