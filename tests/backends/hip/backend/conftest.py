"""The HIP backend on the simulated driver, open once for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hipsim.build import BuildError, environment

from forge.backend import BackendConfig


@pytest.fixture(scope="session")
def simulated() -> dict[str, str]:
    """What a process needs to see the simulated driver, which refuses what would hang in the field;
    skips where it cannot be built."""
    if sys.platform != "linux":
        pytest.skip("ROCm is for Linux")
    pytest.importorskip("hip", reason="hip-python is missing: pip install -e '.[hip]'")
    try:
        return environment(strict="error")
    except BuildError as error:
        if "needs g++" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose lines are faults of the driver in this process, as HIPSIM_FAULT has them."""
    path = tmp_path_factory.mktemp("faults") / "now"
    path.write_text("")
    return path


@pytest.fixture(scope="session")
def backend(
    simulated: dict[str, str], faults: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[object]:
    """The backend in this process, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:  # others follow in this process
        for name, value in {**simulated, "HIPSIM_CTL": str(faults)}.items():
            patch.setenv(name, value)
        patch.setenv("FORGE_HIP_CACHE", str(tmp_path_factory.mktemp("hip")))
        from forge_hip.backend import HipBackend

        opened = HipBackend(BackendConfig(asked=True))
    yield opened
    opened.close()
