"""Which backends are tried, and in which order."""

import pytest

from forge.errors import BackendUnavailable
from forge.order import placements
from forge.spec import BackendSpec

FAST, SLOW, FLOOR = (BackendSpec(name, "m:C") for name in ("fast", "slow", "floor"))
ALL = [FAST, SLOW, FLOOR]


def names(specs):
    return [spec.name for spec in specs]


def test_auto_tries_everything_that_is_installed_in_order():
    assert names(placements(ALL, None, {})) == ["fast", "slow", "floor"]
    assert names(placements(ALL, None, {"fast": "not installed"})) == ["slow", "floor"]


def test_a_chosen_backend_falls_back_only_to_those_after_it():
    assert names(placements(ALL, SLOW, {})) == ["slow", "floor"]
    assert names(placements(ALL, FLOOR, {})) == ["floor"]
    assert names(placements(ALL, FAST, {"slow": "not installed"})) == ["fast", "floor"]


def test_a_chosen_backend_that_is_not_installed_says_what_to_do():
    with pytest.raises(BackendUnavailable, match="fast: pip install"):
        placements(ALL, FAST, {"fast": "pip install x"})
