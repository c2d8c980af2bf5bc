"""The backend under test, and how the run is chosen, judged and summed up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge.errors import ForgeError, UsageError
from forge.plugins import Plugins, missing
from forge.spec import BackendSpec
from forge.testing import capabilities
from forge.testing.capabilities import Table
from forge.testing.remote import RemoteBackend
from forge.testing.remote.backend import Worker
from forge.testing.suite.models import TinyModel
from forge.testing.xfails import read_xfails

HERE = Path(__file__).parent
TABLE = pytest.StashKey[Table]()
LINES = pytest.StashKey[list[str]]()


def chosen(config: pytest.Config) -> BackendSpec:
    """The backend that --forge-backend names; UsageError when there is none."""
    name = config.getoption("--forge-backend")
    if not name:
        names = ", ".join(spec.name for spec in Plugins().backends())
        raise UsageError(
            f"say which backend with --forge-backend: {names}, or package.module:Class"
        )
    if ":" in name:
        return BackendSpec(name.rpartition(":")[2].lower(), name)
    spec = Plugins().backend(name)
    if lacking := missing(spec):
        raise UsageError(f"{name}: {lacking}")
    return spec


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --forge-quick does; mark known failures."""
    ours = [item for item in items if HERE in item.path.parents]
    try:
        chosen(config)
        path = config.getoption("--forge-xfails")
        known = read_xfails(Path(path)) if path else []
        if required := config.getoption("--forge-require"):
            capabilities.read(Path(required))
        _check_folder(config.getoption("--forge-report"))
    except ForgeError as error:
        raise pytest.UsageError(str(error)) from None
    for failure in known:
        meant = [item for item in ours if failure.matches(f"{item.path.name}::{item.name}")]
        if not meant:
            raise pytest.UsageError(f"{path}: no test is like {failure.pattern!r}")
        for item in meant:
            item.add_marker(pytest.mark.xfail(reason=failure.reason, strict=True))
    if config.getoption("--forge-quick"):
        left_out = [item for item in ours if item.get_closest_marker("forge_long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _check_folder(report: str | None) -> None:
    """A report that cannot be written is said before the tests, not after them."""
    if report and not os.access(Path(report).absolute().parent, os.W_OK):
        raise UsageError(f"--forge-report {report}: there is no such folder to write to")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode
) -> None:
    """The table of ops and weight types, and what the tests of faults measured."""
    config = terminalreporter.config
    name = config.getoption("--forge-backend")
    path = config.getoption("--forge-report")
    if table := config.stash.get(TABLE, None):
        terminalreporter.section(f"{name}: ops and weight types")
        for line in capabilities.lines(table):
            terminalreporter.write_line(line)
        if path:
            capabilities.write(table, Path(path))
            terminalreporter.write_line(f"written to {path}")
    elif path and exitstatus != pytest.ExitCode.USAGE_ERROR:
        terminalreporter.write_line(
            f"{path} is not written: the test that makes the table, "
            "test_it_answers_for_every_node_and_the_same_each_time, did not run in this process"
        )
    if lines := config.stash.get(LINES, None):
        terminalreporter.section(f"{name}: faults")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def spec(request: pytest.FixtureRequest) -> BackendSpec:
    """The backend under test, as it is registered."""
    return chosen(request.config)


@pytest.fixture(scope="session")
def _workers() -> Iterator[list[RemoteBackend]]:
    opened: list[RemoteBackend] = []
    yield opened
    for backend in opened:
        backend.worker.close()


@pytest.fixture
def backend(
    spec: BackendSpec, _workers: list[RemoteBackend], request: pytest.FixtureRequest
) -> RemoteBackend:
    """The backend, open in a process that it shares with other tests while nothing kills it."""
    if not _workers or not _workers[-1].worker.alive:
        worker = Worker(spec, request.config.getoption("--forge-timeout"))
        _workers.append(RemoteBackend(worker))
    return _workers[-1]


@pytest.fixture
def fresh(spec: BackendSpec, request: pytest.FixtureRequest) -> Iterator[Worker]:
    """A process of this test's own, in which nothing is open yet."""
    worker = Worker(spec, request.config.getoption("--forge-timeout"))
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """The model that every backend runs."""
    return TinyModel.make(tmp_path_factory.mktemp("llama"), "llama", "f16")


@pytest.fixture(scope="session", autouse=True)
def only_this_plugin(spec: BackendSpec) -> Iterator[None]:
    """Other plugins that happen to be installed are no part of these tests."""
    before = os.environ.get("FORGE_PLUGINS")
    owners = [p.name for p in Plugins().plugins if spec in p.backends]
    os.environ["FORGE_PLUGINS"] = ",".join({"cpu", *owners})
    yield
    if before is None:
        del os.environ["FORGE_PLUGINS"]
    else:
        os.environ["FORGE_PLUGINS"] = before
