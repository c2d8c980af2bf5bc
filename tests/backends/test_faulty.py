"""What a faulty backend makes of the backend that it wraps."""

import numpy as np
import pytest

from forge.errors import UsageError
from forge.testing import faulty, lies

from .conftest import CPU, GREEDY, done, third


def test_a_backend_with_a_module_path_of_its_own_is_found_after_a_fault_at_the_start(open_engine):
    slow = faulty("slow", of=third(), fault="slow", phase="start", seconds=0.01)
    engine = open_engine(slow)
    assert done(engine.generate([5, 6, 7], GREEDY, max_tokens=3)).backend == "slow"


def test_the_wrapped_backend_is_opened_as_one_that_was_asked_for(open_engine):
    lost = faulty("lost", of=third(), fault="lost", phase="open")
    other = faulty("other", of=third(), fault="slow", phase="open")
    assert open_engine(lost, fallback_to=[other]).device == "Third 0 as asked"


@pytest.mark.parametrize(
    ("fault", "phase"), [("repeat", "prefill"), ("few", "check"), ("stale-keep", "decode")]
)
def test_a_lie_about_tokens_or_the_cache_has_its_place(fault, phase):
    with pytest.raises(UsageError, match=f"{fault} is for the phase"):
        faulty("x", of=CPU, fault=fault, phase=phase)


def test_lies_about_numbers_are_what_they_are_called():
    true = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.isnan(lies.numbers("few-nan", true, None)).tolist() == [[False] * 3 + [True]] * 2
    assert set(lies.numbers("two-values", true, None).flat) == {0.25, 0.5}
    assert lies.numbers("stale", true, true + 1).tolist() == (true + 1).tolist()
    assert not lies.numbers("stale", true, None).any()
    assert not lies.numbers("stale", true, true[:1]).any()
    assert true.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("fault", "given"),
    [("repeat", [9, 9, 9]), ("few", []), ("many", [1, 2, 3, 3, 3, 3]), ("outside", None)],
)
def test_lies_about_tokens_are_what_they_are_called(fault, given):
    found = list(lies.tokens(fault, iter([1, 2, 3]), 9, 3))
    assert found == given if given is not None else min(found) > 1 << 20
