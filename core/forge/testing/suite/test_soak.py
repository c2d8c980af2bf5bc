"""L4: what is done again and again costs no more memory, descriptors, threads or processes.

Growth is judged over the last half of the cycles (`forge.testing.usage`), against a part of what
the smallest leak worth the name would add in each: a set of weights, or what a token leaves.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge.events import Done, Token
from forge.faults import Fault
from forge.gguf import open_gguf
from forge.graph import Graph
from forge.models import build_graph
from forge.spec import BackendSpec
from forge.testing.conversation import TOKENS
from forge.testing.faulty import faulty
from forge.testing.remote import RemoteBackend
from forge.testing.remote.backend import Worker
from forge.testing.storyteller import GREEDY, TimedEngine, tell
from forge.testing.suite.undisturbed import Undisturbed, undisturbed_fixture  # noqa: F401
from forge.testing.tiny import write_tiny
from forge.testing.usage import Tolerance, Usage, children, grown, growth, settled

CONTEXT = 64
PROMPT = list(range(3, 23))
CYCLES = 16
PART_OF_WEIGHTS = Tolerance(1 << 20)
"""The weights of `some_megabytes` are 5 MB at least, whatever type they are held in."""
PART_OF_REPLIES = Tolerance(256 << 10)
"""Of a cycle of some ten replies: four kilobytes a token are found."""
CANCEL_AT = 3
ENDS: tuple[Fault, ...] = ("hang", "die", "abort")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc"
)


@pytest.fixture(scope="module")
def some_megabytes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph]:
    """A model whose weights are much more than what an allocator keeps: 2.6 million of them."""
    path = write_tiny(
        tmp_path_factory.mktemp("soak") / "some-megabytes.gguf",
        quant="f16",
        width=256,
        vocabulary=2048,
        layers=2,
        context=CONTEXT,
    )
    with open_gguf(path) as file:
        return path, build_graph(file)


def use(backend: RemoteBackend, graph: Graph, path: Path) -> None:
    """Load the model, have it read and decode, go back in its cache, and unload it."""
    executable = backend.compile(graph, path)
    step = executable.chunk
    for start in range(0, len(PROMPT), step):
        part = PROMPT[start : start + step]
        executable.run({"tokens": part}, range(start, start + len(part)), "last")
    executable.decode(PROMPT[0], len(PROMPT), 8)
    kept = executable.keep(len(PROMPT) // 2)
    executable.run({"tokens": PROMPT[:1]}, [kept], "last")
    executable.close()


def cycles(worker: Worker, cycle: Callable[[], None], count: int = CYCLES) -> list[Usage]:
    """The worker's usage after each."""
    found = []
    for _ in range(count):
        cycle()
        found.append(Usage.of(worker.pid))
    return found


def test_models_loaded_and_unloaded_leave_nothing(
    fresh: Worker, some_megabytes: tuple[Path, Graph]
) -> None:
    path, graph = some_megabytes
    backend = RemoteBackend(fresh)
    taken, _ = backend.converted(graph)
    assert grown(cycles(fresh, lambda: use(backend, taken, path)), PART_OF_WEIGHTS) == []


def test_models_loaded_and_unloaded_leave_the_device_as_free_as_it_was(
    fresh: Worker, some_megabytes: tuple[Path, Graph]
) -> None:
    path, graph = some_megabytes
    backend = RemoteBackend(fresh)
    if backend.device.kind != "discrete" or not backend.memory()[1]:
        pytest.skip(f"{backend.device.name} shares its memory, or does not tell what is free")
    taken, _ = backend.converted(graph)

    def lost() -> list[str]:
        used = []
        for _ in range(CYCLES):
            use(backend, taken, path)
            used.append(-backend.memory()[1])
        more = growth(used)
        return [f"{more:,.0f} bytes a cycle"] if more > PART_OF_WEIGHTS.memory else []

    assert settled(lost) == []


@pytest.mark.forge_long
def test_backends_opened_and_closed_leave_nothing(
    fresh: Worker, some_megabytes: tuple[Path, Graph]
) -> None:
    path, graph = some_megabytes

    def cycle() -> None:
        backend = RemoteBackend(fresh)
        use(backend, backend.converted(graph)[0], path)
        backend.close()

    assert grown(cycles(fresh, cycle), PART_OF_WEIGHTS) == []


@pytest.mark.forge_long
def test_engines_opened_and_closed_leave_nothing(
    spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    before, samples = children(), []
    for _ in range(10):
        with TimedEngine(undisturbed.conversation.model, spec) as engine:
            tell(engine, undisturbed.conversation)
        samples.append(Usage.of())
    assert grown(samples, PART_OF_REPLIES) == []
    assert children() == before


@pytest.mark.forge_long
def test_a_long_chat_leaves_nothing_in_the_worker(
    spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    with TimedEngine(undisturbed.conversation.model, spec) as engine:
        list(engine.load())
        pid, samples = engine.worker_pid, []
        for _ in range(12):
            reasons = chat(engine)
            assert {"length", "context", "cancelled"} == reasons
            samples.append(Usage.of(pid))
        assert engine.worker_pid == pid
        assert engine.backend == spec.name
    assert grown(samples, PART_OF_REPLIES) == []


def chat(engine: TimedEngine) -> set[str]:
    """Everything that can be done in a conversation; the reasons for which its replies ended."""
    session = engine.chat()
    ends = [
        end(session.send(text, GREEDY, max_tokens=TOKENS)) for text in ("One.", "Two.", "Three.")
    ]
    ends.append(end(session.regenerate(GREEDY, max_tokens=TOKENS)))
    ends.append(end(session.fork(2).send("Another two.", GREEDY, max_tokens=TOKENS)))
    ends.append(end(cancelling(engine, session.send("Four.", GREEDY, max_tokens=TOKENS))))
    tokens = [*PROMPT * 2, *PROMPT]
    ends.append(end(engine.generate(tokens, GREEDY, stop_ids=())))  # until the context is full
    return {done.finish_reason for done in ends}


def end(events: Iterator[object]) -> Done:
    """The last event."""
    *_, last = events
    if not isinstance(last, Done):
        raise TypeError(f"{last!r} ends no reply")
    return last


def cancelling(engine: TimedEngine, events: Iterator[object]) -> Iterator[object]:
    """The same events, given up at the third token."""
    tokens = 0
    for event in events:
        tokens += isinstance(event, Token)
        if tokens == CANCEL_AT:
            engine.cancel()
        yield event


@pytest.mark.forge_long
def test_workers_that_were_killed_leave_nothing(
    spec: BackendSpec,
    undisturbed: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # the standard library looks once
    before, samples = children(), []
    for number in range(10):
        bad = faulty("bad", of=spec, fault=ENDS[number % len(ENDS)], phase="decode", step=3)
        with TimedEngine(
            undisturbed.conversation.model, bad, [undisturbed.target], undisturbed.seconds
        ) as engine:
            story = tell(engine, undisturbed.conversation)
            if number % 2 and (pid := engine.worker_pid):
                os.kill(pid, signal.SIGKILL)  # the next backend's, at rest
        assert len(story.fallbacks) == 1
        samples.append(Usage.of())
    assert grown(samples, PART_OF_REPLIES) == []
    assert children() == before
    assert list(tmp_path.iterdir()) == []
