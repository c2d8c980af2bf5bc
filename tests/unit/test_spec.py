"""A backend's spec is checked where it is made, so that a broken one stops nothing later."""

import re

import pytest

from forge import BackendSpec
from forge.errors import PluginError

WRONG = [
    ({"name": ""}, "name"),
    ({"name": "auto"}, "name"),
    ({"name": "a b"}, "name"),
    ({"name": 7}, "name"),
    ({"factory": "module"}, "factory"),
    ({"factory": ":Class"}, "factory"),
    ({"factory": None}, "factory"),
    ({"priority": "high"}, "priority"),
    ({"priority": True}, "priority"),
    ({"api": 1}, "api"),
    ({"api": (1, 0, 0)}, "api"),
    ({"api": ("1", "0")}, "api"),
    ({"env": {"N": 1}}, "env"),
    ({"options": ["a"]}, "options"),
    ({"requires": "hip"}, "requires"),
    ({"requires": (None,)}, "requires"),
    ({"install": None}, "install"),
    ({"floor": 1}, "floor"),
]


@pytest.mark.parametrize(("fields", "named"), WRONG, ids=str)
def test_a_field_that_is_not_what_it_should_be_is_named_with_its_value(fields, named):
    value = fields[named]
    with pytest.raises(PluginError, match=re.escape(f"{named} is {value!r}, not ")):
        BackendSpec(**{"name": "x", "factory": "m:C", **fields})


def test_a_spec_that_does_not_say_its_api_was_written_for_the_first():
    assert BackendSpec("x", "m:C").api == (1, 0)
