"""Memory for the activations of a run: values that do not live at the same time share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forge.backend import Array, Step
from forge_cpu.kv import lazy_bytes

_LINE = 64


def buffers(
    steps: Sequence[Step], sizes: Mapping[str, int], outputs: Sequence[str]
) -> dict[str, Array]:
    """Memory for each value in `sizes`, that a step makes; sizes are bytes.

    A buffer is free again after the step that last reads its value; never within that step, as its
    threads may be at different places. Outputs have memory of their own.
    """
    last: dict[str, int] = {}
    for index, step in enumerate(steps):
        last[step.out] = index
        last.update(dict.fromkeys(step.operands, index))
    found: dict[str, Array] = {}
    free: list[Array] = []
    for index, step in enumerate(steps):
        if step.out in sizes:
            size = sizes[step.out]
            fitting = [memory for memory in free if len(memory) >= size]
            if step.out in outputs or not fitting:
                memory = lazy_bytes(-(-size // _LINE) * _LINE)
            else:
                memory = min(fitting, key=len)
                free = [other for other in free if other is not memory]
            found[step.out] = memory
        for name in {step.out, *step.operands}:
            if last[name] == index and name in found and name not in outputs:
                free.append(found[name])
    return {name: memory[: sizes[name]] for name, memory in found.items()}
