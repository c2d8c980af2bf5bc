"""The public names are what they say, and the error tree in the docstring is the real one."""

import re

import pytest

import forge
from forge import backend, errors


@pytest.mark.parametrize("module", [forge, backend])
def test_every_exported_name_exists(module):
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = forge.no_such_name


def test_the_drawn_error_tree_is_the_real_one():
    drawn = re.findall(r"^ +[│ ]*[├└]── (\w+)", errors.__doc__, re.MULTILINE)
    real = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and name != "ForgeError"
    }
    assert set(drawn) == real
    assert len(drawn) == len(real)
