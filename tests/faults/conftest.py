"""One tiny model, short budgets, and replies as the supervisor gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from forge.events import Event, Fallback, FinishReason, Token
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.supervisor import Supervisor
from forge.testing import write_tiny
from forge.warmup import warm_up
from forge.worker_options import WorkerOptions

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
PROMPT = list(range(3, 40))
GREEDY = SamplingParams(temperature=0)
SEEDED = SamplingParams(temperature=0.8, seed=7)
COUNT = 12

SECONDS = {
    "start": 0.75,
    "open": 0.25,
    "load": 0.3,
    "compile": 0.3,
    "check": 0.3,
    "idle": 0.3,
    "prefill": 0.3,
    "decode": 0.4,
    "evaluate": 0.5,
    "profile": 0.5,
}
"""Budgets for a model whose every step takes a millisecond; the first of a phase has four times."""


@dataclass
class Reply:
    """What a request gave: its events, its tokens, and how it ended."""

    reason: FinishReason | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        return [event.id for event in self.events if isinstance(event, Token)]

    @property
    def fallbacks(self) -> list[Fallback]:
        return [event for event in self.events if isinstance(event, Fallback)]


def ask(
    supervisor: Supervisor,
    params: SamplingParams = GREEDY,
    *,
    prompt: Sequence[int] = PROMPT,
    count: int = COUNT,
    on_event: Callable[[Event, Reply], None] = lambda *_: None,
    reply: Reply | None = None,
) -> Reply:
    """A whole reply; `on_event` sees each event as it comes. Pass `reply` to keep a failed one."""
    reply = reply or Reply()
    events = supervisor.generate(prompt, params, count, [])
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            reply.reason = end.value
            return reply
        reply.events.append(event)
        on_event(event, reply)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose kernels are compiled: no budget here is meant for that."""
    path = write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=256)
    for _ in warm_up(CPU, path, WorkerOptions(None)):
        pass
    return path


@pytest.fixture(scope="session")
def options(model: Path) -> WorkerOptions:
    return WorkerOptions(str(model), threads=1, seconds=SECONDS)


Supervise = Callable[..., Supervisor]


@pytest.fixture
def supervise(options: WorkerOptions) -> Iterator[Supervise]:
    """Supervisors whose workers are ended, not asked to end, when the test is over."""
    made: list[Supervisor] = []

    def supervise(*specs: BackendSpec, strict: bool = False, **changes: object) -> Supervisor:
        changed = replace(options, **changes)  # type: ignore[arg-type]  # each test knows its own
        made.append(Supervisor(specs, changed, strict=strict))
        return made[-1]

    yield supervise
    for supervisor in made:
        if supervisor.runner:
            supervisor.runner.kill()
        supervisor.close()


@pytest.fixture(scope="session")
def undisturbed(options: WorkerOptions) -> Callable[[SamplingParams], list[int]]:
    """What the CPU alone replies."""
    known: dict[bool, list[int]] = {}

    def undisturbed(params: SamplingParams) -> list[int]:
        if params.greedy not in known:
            supervisor = Supervisor([CPU], options)
            known[params.greedy] = ask(supervisor, params).tokens
            supervisor.close()
        return known[params.greedy]

    return undisturbed
