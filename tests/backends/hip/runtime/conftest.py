"""The simulated driver for tests of the runtime: in this process, and in ones that may hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.backends.hip.runtime.desk import Desk
from tests.hipsim.build import BuildError, environment, rocm_path

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def rocm() -> Path:
    """The simulated ROCm's folder; without its compiler, or the binding, tests skip."""
    pytest.importorskip("hip", reason="hip-python is not installed: pip install 'forge-llm[hip]'")
    try:
        return rocm_path()
    except BuildError as error:
        pytest.skip(f"the simulated HIP driver cannot be built: {error}")


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels are kept meanwhile."""
    return tmp_path_factory.mktemp("code")


def _see(patch: pytest.MonkeyPatch, rocm: Path, code: Path) -> None:
    for name, value in environment(rocm, storm=100000).items():
        patch.setenv(name, value)
    patch.setenv("FORGE_HIP_CACHE", str(code))


@pytest.fixture(scope="session")
def opened(rocm: Path, code: Path) -> Iterator[Desk]:
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # for its tests alone: others follow in this process
        _see(patch, rocm, code)
        desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def desk(opened: Desk, rocm: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An open device, all of whose memory is free afterwards."""
    _see(monkeypatch, rocm, code)
    yield opened
    opened.stream.wait()
    opened.pool.close()


@pytest.fixture
def play(rocm: Path, code: Path) -> Play:
    """Run a program on a simulated driver of its own; `environ` is for it, names in capitals."""

    def play(program: str, seconds: float = 40, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {n: v for n, v in os.environ.items() if not n.startswith(("HIP", "ROCR", "HSA"))}
        env |= {**environment(rocm), "FORGE_HIP_CACHE": str(code), **environ}
        return subprocess.run(
            [sys.executable, "-P", "-c", program],
            env=env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    return play
