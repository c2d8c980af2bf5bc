"""The few logits that are looked at decide every draw as the whole row would."""

import numpy as np
import pytest

from forge.backend import Array, BackendWrong, Sampler, SamplingParams
from forge_cpu.crew import Crew
from forge_cpu.library import Library
from forge_cpu.order import Order
from forge_cpu.program import Program

PARAMS = {
    "greedy": SamplingParams(temperature=0),
    "default": SamplingParams(seed=3),
    "one": SamplingParams(seed=3, top_k=1, temperature=2.0),
    "few": SamplingParams(seed=4, top_k=3, temperature=3.0),
    "all": SamplingParams(seed=5, top_k=0, temperature=2.0),
}


def drawn(library: Library, logits: Array, sampler: Sampler, position: int = 7) -> int:
    """What the threads' look at a row of a buffer that is not aligned leads to."""
    row = np.empty(len(logits) + 3, np.float32)[3:]
    row[:] = logits
    order, program, crew = Order(row), Program(library), Crew(library, 2)
    order.add(program)
    try:
        crew.run(program)
    finally:
        crew.close()
    return order.draw(sampler, position)


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
@pytest.mark.parametrize("size", [1, 15, 128, 129, 1000, 5001, 49152])
@pytest.mark.parametrize("levels", [3, 40, 0])
def test_a_draw_is_the_whole_rows(
    library: Library, params: SamplingParams, size: int, levels: int
) -> None:
    random = np.random.default_rng(size + levels)
    for position in range(3):
        logits = random.standard_normal(size).astype(np.float32) * 3
        if levels:  # many are equal, and 0 comes with both signs
            logits = np.round(logits * levels / 9) * np.float32(9 / levels)
        logits[random.random(size) < 0.1] = -np.inf
        logits[0] = 0.5
        sampler = Sampler(params)
        assert drawn(library, logits, sampler, position) == sampler.sample(logits, position)


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, 2e30])
@pytest.mark.parametrize("place", [0, 700, 4999])
def test_a_number_that_is_none_is_told(
    library: Library, params: SamplingParams, value: float, place: int
) -> None:
    logits = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    logits[place] = value
    with pytest.raises(BackendWrong):
        drawn(library, logits, Sampler(params))


def test_a_row_that_is_all_alike_is_shown_to_the_sampler_as_a_whole(library: Library) -> None:
    seen = []

    class Watching(Sampler):
        def sample(self, logits: Array, position: int) -> int:
            seen.append(len(logits))
            return super().sample(logits, position)

    drawn(library, np.full(5000, 1.5, np.float32), Watching(PARAMS["greedy"]))
    assert seen == [5000]
