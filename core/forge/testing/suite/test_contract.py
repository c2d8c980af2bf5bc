"""L0: the contract itself: opening, asking, compiling, closing, and what each must not touch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from forge.errors import BackendUnavailable
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.plugins import Plugins
from forge.spec import BackendSpec
from forge.testing import capabilities, listing
from forge.testing.cases import op_cases
from forge.testing.pytest_plugin import ENVIRONMENT
from forge.testing.remote import RemoteBackend
from forge.testing.remote.backend import ForeignError, Worker
from forge.testing.suite.conftest import TABLE
from forge.testing.suite.models import CONTEXT, Array, TinyModel, prefill

KINDS = ("cpu", "integrated", "discrete", "software")


@pytest.fixture
def second(backend: RemoteBackend) -> Iterator[RemoteBackend]:
    """The backend a second time in the same process."""
    other = RemoteBackend(backend.worker)
    yield other
    if backend.worker.alive:
        other.close()


def test_listing_it_loads_no_driver_and_opens_no_device(
    spec: BackendSpec, request: pytest.FixtureRequest
) -> None:
    """The host process imports plugins to list them, and must survive any driver."""
    if not any(spec in plugin.backends for plugin in Plugins().plugins):
        pytest.skip(f"{spec.factory} is not installed as a plugin")
    untouched = request.config.stash[ENVIRONMENT]
    done = subprocess.run(
        [sys.executable, "-P", listing.__file__, spec.name],
        cwd=request.config.invocation_params.dir,
        env={**untouched, "FORGE_PLUGINS": os.environ["FORGE_PLUGINS"]},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout, f"what listing did:\n{done.stdout}"


def test_it_says_what_it_runs_on(backend: RemoteBackend) -> None:
    """A name, a kind, and devices that can be told apart."""
    for device in (backend.device, *backend.devices):
        assert device.name.strip() == device.name != ""
        assert device.kind in KINDS
    ids = Counter(device.id for device in backend.devices)
    assert backend.devices
    assert max(ids.values()) == 1, f"devices with the same id: {ids}"
    for check in backend.checks:
        assert check.name
        assert check.ok or check.advice or check.detail, f"{check.name} says neither why nor what"


def test_every_device_that_it_lists_can_be_asked_for(fresh: Worker) -> None:
    """`--device` takes the ids of `devices()`; one that is none is refused with what there is."""
    devices = RemoteBackend(fresh).devices
    for device in devices:
        if device.id:
            opened = RemoteBackend(fresh, device=device.id)
            assert opened.device.name == device.name
            opened.close()
    with pytest.raises(BackendUnavailable) as refusal:
        RemoteBackend(fresh, device="no such device")
    assert len(str(refusal.value)) > 10


def test_its_memory_adds_up(backend: RemoteBackend, llama: TinyModel) -> None:
    """Free is part of total; a longer context never needs less; a model fits by its own figures."""
    total, free = backend.memory()
    assert 0 <= free <= total
    graph = backend.converted(llama.graph)[0]
    needed = backend.required(graph)
    assert needed >= sum(w.bytes for w in graph.distinct_weights()) // 2
    with open_gguf(llama.path) as file:
        shorter = backend.converted(build_graph(file, context=CONTEXT // 2))[0]
    assert backend.required(shorter) <= needed
    if total:
        assert needed <= total


def test_it_answers_for_every_node_and_the_same_each_time(
    backend: RemoteBackend, llama: TinyModel, request: pytest.FixtureRequest
) -> None:
    """The table of ops and weight types; nothing less than --forge-require asks for."""
    cases = list(chain.from_iterable(op_cases().values()))
    table = capabilities.measure(backend, cases)
    request.config.stash[TABLE] = table
    if report := request.config.getoption("--forge-report"):
        capabilities.write(table, Path(report))
    ops = {node.op for node in llama.graph.nodes}
    alone = {op for op, _ in (key for key, found in table.items() if found != "unsupported")}
    assert ops <= alone, f"no by itself, yes in a model: {ops - alone}"
    again = capabilities.measure(backend, cases)
    assert again == table, "asked again, it answered otherwise"
    if path := request.config.getoption("--forge-require"):
        assert not capabilities.shortfalls(capabilities.read(Path(path)), table)


def test_every_piece_of_loading_is_a_beat(backend: RemoteBackend, llama: TinyModel) -> None:
    """A worker without a beat is killed: a beat for each matrix at least, counted to the end."""
    executable = llama.on(backend)
    matrices = [w for w in llama.graph.distinct_weights() if len(w.shape) > 1]
    loads = [beat for beat in executable.beats if beat.phase == "load" and beat.done]
    assert len(loads) >= len(matrices), f"{len(loads)} beats for {len(matrices)} matrices"
    for phase in {beat.phase for beat in executable.beats}:
        assert phase in ("load", "compile")
        done = [beat.done for beat in executable.beats if beat.phase == phase]
        (total,) = {beat.total for beat in executable.beats if beat.phase == phase}
        assert done == sorted(done)
        assert done[-1] == total
    executable.close()


@pytest.mark.parametrize("beats", [1, 5])
def test_loading_can_be_given_up(beats: int, backend: RemoteBackend, llama: TinyModel) -> None:
    """An exception out of `progress` passes through, and the backend is as good as before."""
    graph = backend.converted(llama.graph)[0]
    with pytest.raises(ForeignError, match="Cancelled"):
        backend.compile(graph, llama.path, cancel_after=beats)
    executable = llama.on(backend)
    np.testing.assert_allclose(
        prefill(executable, llama.tokens[:9]).mean(), llama.logits[:9].mean(), atol=0.2
    )
    executable.close()


def test_a_run_takes_at_least_one_token(backend: RemoteBackend, llama: TinyModel) -> None:
    """`chunk` is a number of tokens."""
    executable = llama.on(backend)
    assert executable.chunk >= 1
    executable.close()


def test_closing_twice_does_nothing(fresh: Worker, llama: TinyModel) -> None:
    """Executable and backend; and nothing can be run afterwards."""
    backend = RemoteBackend(fresh)
    executable = llama.on(backend)
    prefill(executable, llama.tokens[:3])
    executable.close()
    executable.close()
    with pytest.raises(Exception, match=r"."):
        prefill(executable, llama.tokens[:3])
    assert fresh.alive, "running a closed executable took the process down"
    backend.close()
    backend.close()
    assert fresh.alive


def test_closing_in_the_middle_of_decoding_is_allowed(fresh: Worker, llama: TinyModel) -> None:
    """The generator ends or raises; it yields no token of a model that is gone."""
    backend = RemoteBackend(fresh)
    executable = llama.on(backend)
    prefill(executable, llama.tokens[:9])
    begun = executable.decode(llama.tokens[9], 9, 8, take=3, close_first=True)
    assert len(begun.tokens) == 3
    assert begun.ending in ("raised", "stopped")
    another = llama.on(backend)
    assert np.isfinite(prefill(another, llama.tokens[:9])).all()


def test_two_of_them_in_one_process_do_not_disturb_each_other(
    backend: RemoteBackend, second: RemoteBackend, llama: TinyModel
) -> None:
    """Interleaved runs are those of each alone; closing one leaves the other be."""
    one, other = llama.on(backend), llama.on(second)
    texts = llama.tokens[:20], llama.tokens[20:40]
    alone = [
        prefill(executable, text) for executable, text in zip((one, other), texts, strict=True)
    ]
    one.keep(0)
    other.keep(0)
    parts: tuple[list[Array], list[Array]] = ([], [])
    for start in range(0, 20, 5):
        for executable, text, part in zip((one, other), texts, parts, strict=True):
            part.append(prefill(executable, text[start : start + 5], start=start))
    for part, whole in zip(parts, alone, strict=True):
        np.testing.assert_allclose(np.concatenate(part), whole, atol=0.05)
    one.close()
    other.keep(0)
    np.testing.assert_array_equal(prefill(other, texts[1]), alone[1])
    other.close()


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid(2)")
def test_its_process_ends_by_itself_when_all_is_closed(fresh: Worker, llama: TinyModel) -> None:
    """A thread or an exit handler that waits for a driver makes each command wait; no crash."""
    backend = RemoteBackend(fresh)
    executable = llama.on(backend)
    prefill(executable, llama.tokens[:3])
    executable.close()
    backend.close()
    assert fresh.ends() == (os.CLD_EXITED, 0)


def test_two_processes_have_it_open_at_the_same_time(
    backend: RemoteBackend, fresh: Worker, llama: TinyModel
) -> None:
    """Another forge, or the probe of a device that is in use."""
    one, other = llama.on(backend), llama.on(RemoteBackend(fresh))
    np.testing.assert_array_equal(
        prefill(one, llama.tokens[:30]), prefill(other, llama.tokens[:30])
    )
    one.close()


def test_it_needs_no_current_folder_and_leaves_nothing_in_it(
    spec: BackendSpec, tmp_path: Path, llama: TinyModel, request: pytest.FixtureRequest
) -> None:
    """Caches belong where the person's caches are."""
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        worker = Worker(spec, request.config.getoption("--forge-timeout"))
        executable = llama.on(RemoteBackend(worker))
        prefill(executable, llama.tokens[:3])
        worker.close()
    finally:
        os.chdir(before)
    assert not list(tmp_path.iterdir())
