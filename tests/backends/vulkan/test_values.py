"""Activations share memory, and no two of them that live at the same time."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from tests.backends.vulkan.tiny_models import graph_of, tiny

from forge.backend import Step
from forge.models import ARCHITECTURES
from forge_gpu.plan import Plan
from forge_gpu.values import places, room


def touched(plan: Plan, step: Step, waits: frozenset[str]) -> set[str]:
    """What a kernel reads: its operands, and in place of those that wait, theirs."""
    found: set[str] = set()
    for name in step.operands:
        made = plan.made_by.get(name)
        found |= touched(plan, made, waits) if made and name in waits else {name}
    return found


def lives(plan: Plan, steps: list[Step], waits: frozenset[str]) -> dict[str, tuple[int, int]]:
    """From the kernel that writes a value to the last that reads it."""
    found: dict[str, tuple[int, int]] = {}
    for index, step in enumerate(steps):
        if step.out in waits:
            continue
        found[step.out] = index, index
        for name in touched(plan, step, waits):
            if name in found:
                found[name] = found[name][0], index
    return found


@pytest.mark.parametrize("most", [1, 32, 128])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_that_live_at_the_same_time_do_not_overlap(
    tmp_path: Path, architecture: str, most: int
) -> None:
    plan = Plan(graph_of(tiny(tmp_path, architecture)))
    waitings = [
        plan.waiting(lambda _: True, pairs=True),
        plan.waiting(lambda _: True, pairs=False),
        plan.waiting(lambda step: "ffn" in step.out, pairs=most == 1),
        plan.waiting(lambda _: False, pairs=False),
    ]
    for waits in waitings:
        for rows in (False, True):
            steps = plan.section(rows)
            offsets, size = places(plan, steps, most, waits)
            life = lives(plan, steps, waits)
            placed = {name: (at, at + room(plan.width(name), most)) for name, at in offsets.items()}
            assert placed.keys() == {name for name in life if not plan.kept(name)}
            assert all(start >= 0 and stop <= size for start, stop in placed.values())
            for one, other in combinations(placed, 2):
                begins = max(placed[one][0], placed[other][0])
                ends = min(placed[one][1], placed[other][1])
                if begins < ends:
                    assert life[one][1] < life[other][0] or life[other][1] < life[one][0], (
                        f"{one} and {other}"
                    )


def test_a_chunk_shares_memory_between_layers_and_one_token_does_not(tmp_path: Path) -> None:
    sizes = {}
    for layers in (2, 8):
        plan = Plan(graph_of(tiny(tmp_path, layers=layers)))
        for most in (1, 128):
            sizes[layers, most] = places(plan, plan.section(False), most, frozenset())[1]
    assert sizes[8, 128] == sizes[2, 128]
    assert sizes[8, 1] > 3 * sizes[2, 1]
