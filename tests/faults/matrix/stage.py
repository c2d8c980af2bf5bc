"""Where a cell of the matrix is played: supervisors with a past, and a judge of replies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.faults.conftest import COUNT, CPU, GREEDY, PROMPT, Reply, ask

from forge.events import Fallback, Loading, Ready
from forge.past import Past
from forge.process import WorkerProcess
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.supervisor import Supervisor
from forge.worker_options import WorkerOptions

GPU = replace(CPU, name="gpu", floor=False)
"""The CPU backend in a role that has a device to lose."""


class Stuck(WorkerProcess):
    """A process that no signal reaches, as one in uninterruptible sleep: the driver's edge."""

    reachable = False

    def kill(self, seconds: float) -> bool:
        if Stuck.reachable:
            return super().kill(seconds)
        return False


@dataclass
class Stage:
    """Owns the supervisors of one test; `proven` is a state folder that knows GPU's answers."""

    options: WorkerOptions
    diary: Path
    proven: Path
    undisturbed: Callable[[SamplingParams], list[int]]
    made: list[Supervisor] = field(default_factory=list)

    def process(self, *specs: BackendSpec, strict: bool = False, **changes: Any) -> Supervisor:
        """A supervisor as a new process of forge has it, with what is in the state folder."""
        changed = replace(self.options, **changes)
        past = Past(changed, Ledger.open())
        self.made.append(Supervisor(specs, changed, strict=strict, past=past))
        return self.made[-1]

    def close(self) -> None:
        """End the workers, also those that no signal reached."""
        Stuck.reachable = True
        try:
            for supervisor in self.made:
                for runner in (supervisor.runner, *supervisor.left_behind):
                    if runner:
                        runner.kill()
                supervisor.close()
        finally:
            Stuck.reachable = False

    def begun(self) -> float:
        """When the scripted fault began, in seconds since 1970."""
        return float(self.diary.read_text().splitlines()[0])

    def completes(self, reply: Reply, params: SamplingParams = GREEDY) -> None:
        """The reply is the undisturbed one, bit by bit."""
        assert reply.reason == "length"
        assert reply.tokens == self.undisturbed(params)
        told(reply)

    def continues(self, reply: Reply, params: SamplingParams) -> None:
        """The reply is what an undisturbed backend says after the tokens that were shown."""
        shown = reply.tokens[: reply.fallbacks[-1].at_token]
        rest = ask(
            self.process(CPU), params, prompt=[*PROMPT, *shown], count=COUNT - len(shown)
        ).tokens
        assert reply.reason == "length"
        assert reply.tokens == [*shown, *rest]
        told(reply)


def told(reply: Reply) -> None:
    """Each fallback stands between the tokens where it says."""
    for index, event in enumerate(reply.events):
        if isinstance(event, Fallback):
            assert event.at_token == len(Reply(events=reply.events[:index]).tokens)


def record(fallback: Fallback) -> Mapping[str, Any]:
    """What was written down of a failure."""
    found: Mapping[str, Any] = json.loads(Path(fallback.record).read_text("utf-8"))
    return found


def phases(reply: Reply) -> list[str]:
    """Of loading, each once, in order."""
    found = [event.phase for event in reply.events if isinstance(event, Loading)]
    return list(dict.fromkeys(found))


def ready(reply: Reply) -> list[str]:
    """The backends that held the model."""
    return [event.backend for event in reply.events if isinstance(event, Ready)]


def accused() -> list[str]:
    """Whom the state folder keeps from being used."""
    with closing(Ledger.open()) as ledger:
        return [standing.quarantine.key.backend for standing in ledger.quarantines()]


def now() -> float:
    """Seconds since 1970, as records have them."""
    return time.time()
