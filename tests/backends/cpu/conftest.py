"""Compiled code for the tests of the CPU backend; compiled once for all of them."""

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the kernels need the extra: pip install 'forge-llm[cpu]'")

from forge_cpu.cache import default_cache
from forge_cpu.isa import current
from forge_cpu.library import Library


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The kernels for this processor, with the user's own cache of code."""
    return Library(current(), default_cache(current()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a cache of code may go."""
    return tmp_path / "code"
