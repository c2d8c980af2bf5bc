"""Which values of a run of one token each thread makes for itself: nobody waits for them."""

from __future__ import annotations

from forge.backend import Op
from forge_cpu.compiled.shared import Shared

_COLUMNS = 4096
"""Up to which width that takes about as long as a wait."""
_CURVED_COLUMNS = 1024
"""The same where a column costs an exponential."""
_PLAIN = frozenset(
    {Op.EMBED, Op.RMS_NORM, Op.LAYER_NORM, Op.ADD, Op.MUL, Op.SCALE, Op.ROPE, Op.SELECT_ROWS}
)
_CURVED = frozenset({Op.SILU_MUL, Op.GELU_MUL, Op.SOFTCAP})


def own_values(shared: Shared) -> frozenset[str]:
    """The names of these values."""
    found = set()
    for step in shared.steps:
        most = _COLUMNS if step.node.op in _PLAIN else 0
        most = _CURVED_COLUMNS if step.node.op in _CURVED else most
        if step.node.op is Op.ATTENTION:
            most = _COLUMNS
        if shared.width(step.out) <= most and step.out not in shared.graph.outputs:
            found.add(step.out)
    return frozenset(found)
