"""What the simulator's own tests share: the built libraries."""

import shutil

import pytest

from .build import rocm_path


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The libraries are built before any test's own limit of time begins."""
    pytest.importorskip("hip", reason="pip install hip-python brings the binding")
    if not shutil.which("g++"):
        pytest.skip("the simulated driver is built with g++ (apt-get install g++)")
    rocm_path()
    rocm_path(old=True)
