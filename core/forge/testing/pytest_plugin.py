"""Options of the conformance suite; light, as every pytest loads it where forge is installed.

pytest --pyargs forge.testing.suite --forge-backend NAME
"""

from __future__ import annotations

import os

import pytest

ENVIRONMENT = pytest.StashKey[dict[str, str]]()
"""The environment before any plugin of forge's was imported."""
OPTIONS = (
    ("--forge-backend", "NAME", "the backend under test: a name, or package.module:Class"),
    ("--forge-xfails", "FILE", "tests that are known to fail, a pattern and a reason a line"),
    ("--forge-require", "FILE", "a table as --forge-report writes it: what must be supported"),
    ("--forge-report", "FILE", "write the table of ops and weight types as CSV"),
)


def seconds(text: str) -> float:
    """A length of time; ValueError has argparse say what is wrong."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError(text)
    return value


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the options."""
    group = parser.getgroup("forge", "conformance suite for forge backends")
    for name, value, text in OPTIONS:
        group.addoption(name, metavar=value, help=text)
    group.addoption("--forge-quick", action="store_true", help="a part that takes under 30 s")
    group.addoption(
        "--forge-timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="how long the backend may work without finishing anything (60)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks; remember the environment."""
    config.stash[ENVIRONMENT] = dict(os.environ)
    config.addinivalue_line("markers", "forge_long: left out by --forge-quick")
