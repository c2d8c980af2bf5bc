"""Memory for the activations of a section: values that do not live at the same time share it."""

from __future__ import annotations

from collections.abc import Sequence

from forge.backend import Step
from forge_gpu.memory import ALIGNMENT
from forge_gpu.plan import Plan


def places(
    plan: Plan, steps: Sequence[Step], most: int, waiting: frozenset[str]
) -> tuple[dict[str, int], int]:
    """Byte offsets of what the steps make for `most` rows, in one piece of memory, and its size.

    What is kept has memory of its own: it is not placed here. A place is free again after the step
    that last needs its value. With one row nothing is shared: sharing costs barriers.
    """
    last = plan.last_uses(steps, waiting)
    offsets: dict[str, int] = {}
    free: list[tuple[int, int]] = []  # offset, size
    sizes: dict[str, int] = {}
    end = 0
    for index, step in enumerate(steps):
        name = step.out
        if name not in waiting and not plan.kept(name):
            size = sizes[name] = room(plan.width(name), most)
            fitting = [(held, at) for at, held in free if held >= size]
            if fitting and most > 1:
                held, at = min(fitting)
                free.remove((at, held))
                sizes[name] = held
            else:
                at, end = end, end + size
            offsets[name] = at
        done = (n for n in {name, *step.operands} if last.get(n) == index and n in offsets)
        free += [(offsets[used], sizes[used]) for used in done]
    return offsets, end


def room(width: int, most: int) -> int:
    """Bytes of float32 [most, width]."""
    return -(-4 * width * most // ALIGNMENT) * ALIGNMENT
