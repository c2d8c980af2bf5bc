"""Which backends an engine tries when one was chosen, and when the order was given."""

import pytest

from forge.errors import BackendUnavailable, UsageError
from forge.order import order
from forge.spec import BackendSpec

FAST, SLOW = BackendSpec("fast", "m:C"), BackendSpec("slow", "m:C")
ABSENT = BackendSpec("absent", "m:C", requires=("no_such_module",))


def names(backend, fallback_to=None):
    return [place.spec.name for place in order(backend, fallback_to)[0]]


def test_without_a_choice_the_installed_backends_or_the_given_ones_are_tried():
    assert names(None) == names("auto") == ["cpu"]
    assert names("auto", [SLOW, FAST]) == ["slow", "fast"]


def test_a_backend_that_no_plugin_offers_comes_before_those_that_are():
    assert names(FAST) == ["fast", "cpu"]


def test_a_chosen_backend_falls_back_to_what_was_given_and_to_nothing_else():
    assert names("cpu", [FAST, SLOW]) == ["cpu", "fast", "slow"]
    assert names(SLOW, [FAST, SLOW]) == ["slow", "fast"]
    assert names(FAST, []) == ["fast"]


def test_a_backend_that_is_not_installed_is_passed_over_with_its_advice():
    places, absent = order(FAST, [ABSENT, SLOW])
    assert [place.spec.name for place in places] == ["fast", "slow"]
    assert absent == {"absent": "no_such_module is not installed: pip install 'no_such_module'"}


def test_a_chosen_one_that_is_not_installed_or_not_there_is_an_error():
    with pytest.raises(BackendUnavailable, match="absent: no_such_module is not installed"):
        order(ABSENT, [SLOW])
    with pytest.raises(UsageError, match="there is no backend 'none-such'; there are: cpu"):
        order("none-such", None)
