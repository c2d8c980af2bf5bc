"""An experiment stops where a device does not come back, whatever tells so; real workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge.doctor.experiment import Asked, Circumstances, Experiment
from forge.doctor.experiment_plan import AS_IT_IS, Strategy
from forge.doctor.experiment_trial import Outcome, Settings, still_well
from forge.place import Place
from forge.process import WorkerProcess
from forge.spec import BackendSpec
from forge.state import Key, Ledger
from forge.testing.faulty import faulty
from forge.worker_options import WorkerOptions

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GPU = replace(CPU, name="gpu", floor=False, priority=9)
TWICE = Circumstances(own=(Strategy("mine", "a variable", env={"FORGE_TEST_MINE": "1"}),))
FLOORS = {"decode": 0.4, "load": 5.0, "open": 5.0, "start": 5.0, "idle": 5.0}


class Stuck(WorkerProcess):
    """Stays after SIGKILL, as a process in uninterruptible sleep does: the driver's edge."""

    left: list[WorkerProcess] = []  # noqa: RUF012 - what the test ends in the end

    def kill(self, seconds: float) -> bool:
        if self not in Stuck.left:
            Stuck.left.append(self)
        return False


@pytest.fixture
def tried(tiny_chat):
    """Run an experiment on these backends; what came of it, and what was said on the way."""

    def tried(*specs: BackendSpec, **options: object) -> tuple[Experiment, list[object]]:
        chosen = WorkerOptions(str(tiny_chat), seconds=FLOORS, remember=True, **options)
        done = Experiment()
        places = [Place(spec, "") for spec in specs]
        steps = list(done.run(places, chosen, TWICE, 8, lambda: False))
        return done, steps

    yield tried
    for process in Stuck.left:
        WorkerProcess.kill(process, 5)
    Stuck.left.clear()


def told(done: Experiment) -> list[tuple[str, str, str]]:
    return [(o.backend, o.strategy.id, o.reached) for o in done.outcomes]


def test_a_worker_that_stays_in_its_driver_ends_it_at_once(tried) -> None:
    done, _ = tried(faulty("gpu", of=GPU, fault="hang", phase="decode"), CPU, process=Stuck)
    assert told(done) == [("gpu", "as it is", "decode")]
    assert "stays in the driver" in done.stopped
    assert done.untried == [("gpu", "mine"), ("gpu", "smaller"), ("cpu", "as it is")]
    with Ledger.open() as ledger:
        (standing,) = [s for s in ledger.quarantines() if s.quarantine.every_backend]
    assert standing.holds


def test_a_device_that_is_lost_to_every_backend_is_left_alone(tried) -> None:
    with Ledger.open() as ledger:
        ledger.quarantine(Key("gpu"), "it is gone", until_reboot=True, every_backend=True)
    done, _ = tried(GPU, CPU)
    assert [(o.strategy.id, o.kind) for o in done.outcomes if not o.ok] == [
        ("as it is", "BackendUnavailable"),
        ("mine", "BackendUnavailable"),
    ]
    assert told(done)[-1] == ("cpu", "as it is", "reply")


def test_after_a_kill_the_device_is_asked_with_what_worked(tried) -> None:
    done, steps = tried(faulty("gpu", of=GPU, fault="hang", phase="decode"), CPU)
    asked = [step.answer for step in steps if isinstance(step, Asked)]
    assert asked == ["", "", ""]
    assert done.stopped == ""
    assert told(done)[-1] == ("cpu", "as it is", "reply")


def test_where_nothing_worked_yet_nobody_can_be_asked_and_it_goes_on(tried) -> None:
    done, steps = tried(faulty("gpu", of=GPU, fault="abort", phase="open"), CPU)
    asked = [step.answer for step in steps if isinstance(step, Asked)]
    assert asked == [None, None, None]
    assert told(done)[-1] == ("cpu", "as it is", "reply")


def test_known_answers_that_come_too_late_are_no_sign_of_life(tiny_chat) -> None:
    slow = faulty("gpu", of=GPU, fault="slow", phase="check", seconds=1.0)
    settings = Settings(slow, WorkerOptions(str(tiny_chat), remember=True))
    assert still_well(settings, 2.0) == "known answers took more than 2 s"
    assert still_well(Settings(GPU, settings.options), 30.0) == ""


def test_a_lack_of_memory_and_a_missing_driver_accuse_nobody(tried) -> None:
    done, steps = tried(faulty("gpu", of=GPU, fault="oom", phase="load"), CPU)
    assert not [step for step in steps if isinstance(step, Asked)]
    assert [o.kind for o in done.outcomes] == [*["BackendOutOfMemory"] * 3, ""]
    with Ledger.open() as ledger:
        assert ledger.quarantines() == []


def test_the_fastest_that_works_wins_and_only_where_as_it_is_fails() -> None:
    done = Experiment()
    slow, fast, failed = (
        Outcome("gpu", Strategy(name, "x", env={"A": name}), ok=ok, tokens_per_s=rate)
        for name, ok, rate in (("slow", True, 5.0), ("fast", True, 50.0), ("bad", False, 500.0))
    )
    done.outcomes = [Outcome("gpu", AS_IT_IS), slow, fast, failed]
    assert done.winners() == [fast]
    done.outcomes[0] = replace(done.outcomes[0], ok=True)
    assert done.winners() == []
