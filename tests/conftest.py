"""What tests share: the command line as a process, tiny models, and the real default model."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge.plugins import Plugins
from forge.testing import write_tiny
from forge.warmup import warm_up
from forge.worker_options import WorkerOptions
from forge_cpu.cache import caches

from .faults.matrix.cells import Found, table


@pytest.fixture(scope="session", autouse=True)
def only_the_cpu() -> Iterator[None]:
    """Whatever GPU or plugin happens to be here is no part of a test that does not name it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_PLUGINS", "cpu")
        yield


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders that are not there yet."""
    base = tmp_path_factory.mktemp("states")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def a_state_of_its_own(states: Iterator[Path]) -> Iterator[None]:
    """What one test teaches forge is nothing to the next, nor to the person whose machine it is."""
    with pytest.MonkeyPatch.context() as patch:
        folder = next(states)
        patch.setenv("FORGE_STATE", str(folder))
        patch.setenv("FORGE_CONFIG", str(folder / "no-config.toml"))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_cache_of_code() -> Iterator[None]:
    """Kernels are compiled once, also for tests with a home or a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_CPU_CACHE", str(caches()))
        yield


def compiled(model: Path) -> Path:
    """The model, once its kernels are in the cache: no limit of a test is meant for that."""
    for _ in warm_up(Plugins().backend("cpu"), model, WorkerOptions(None)):
        pass
    return model


@pytest.fixture(scope="session")
def real_model() -> Path:
    """SmolLM2-135M-Instruct, the default model, whose kernels are compiled."""
    path = os.environ.get("FORGE_TEST_MODEL")
    if not path:
        pytest.skip("FORGE_TEST_MODEL names no model; `forge pull smollm2` prints the path of one")
    return compiled(Path(path))


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live random-weight model with a byte-level vocabulary and a chat template, compiled."""
    return compiled(write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", tokenizer="bytes"))


Forge = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def forge_command() -> list[str]:
    """The command line, started so that the current folder is never imported from."""
    return [sys.executable, "-P", "-m", "forge"]


@pytest.fixture(scope="session")
def forge(forge_command: list[str]) -> Forge:
    """Run the command line; `stdin` is text or bytes, nothing by default."""

    def run(
        *arguments: str | Path,
        stdin: str | bytes = b"",
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*forge_command, *map(str, arguments)],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=50,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the fault matrix, if any of its cells was run."""
    reports = [each for found in terminalreporter.stats.values() for each in found]
    cells = [
        Found(**value)  # type: ignore[arg-type]  # what its own property() gave
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "fault-matrix"
    ]
    if cells:
        terminalreporter.write_sep("=", "fault matrix")
        for line in table(cells):
            terminalreporter.write_line(line)
