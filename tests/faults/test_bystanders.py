"""Who did nothing is not blamed, and who takes no part keeps nothing alive."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from forge.events import Loading, Token
from forge.health import Device, presentable
from forge.process import WorkerProcess
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.state.marker import Mark
from forge.state.rows import Rows
from forge.survey import list_backends
from forge.testing import write_tiny
from forge.testing.faulty import faulty

from .conftest import CPU, GREEDY, PROMPT, ask
from .test_cancel import GPU, marks, remembering  # noqa: F401  # a fixture
from .test_leftovers import gone
from .test_past import Stuck

SLOW = faulty("gpu", of=CPU, fault="slow", phase="decode", seconds=0.05)


def accusations() -> list[str]:
    with closing(Ledger.open()) as ledger:
        return [standing.quarantine.reason for standing in ledger.quarantines()]


def test_a_worker_that_somebody_stopped_accuses_no_device(remembering) -> None:  # noqa: F811
    supervisor = remembering(SLOW, CPU)

    def stop(event, reply) -> None:
        if isinstance(event, Token) and len(reply.tokens) == 2:
            os.kill(supervisor.runner.pid, signal.SIGSTOP)

    (fallback,) = ask(supervisor, on_event=stop).fallbacks
    assert "no progress" in fallback.reason
    assert accusations() == []


@pytest.mark.parametrize("fault", ["hang", "exit"])
def test_a_worker_that_never_said_hello_accuses_no_device(fault, remembering) -> None:  # noqa: F811
    assert ask(remembering(faulty("gpu", of=CPU, fault=fault, phase="start"), CPU)).fallbacks
    assert accusations() == []


def test_a_model_that_is_cut_short_while_it_runs_accuses_no_device(
    remembering,  # noqa: F811
    tmp_path,
) -> None:
    model = write_tiny(tmp_path / "model.gguf", context=256)
    bad = faulty("gpu", of=CPU, fault="abort", phase="decode", step=2)
    supervisor = remembering(bad, CPU, model=str(model))
    whole = model.read_bytes()

    def write(event, reply) -> None:
        if isinstance(event, Token) and len(reply.tokens) == 1:
            with model.open("r+b") as file:
                file.write(whole[:100])
            os.utime(model, ns=(1, 1))

    assert ask(supervisor, on_event=write).fallbacks
    assert accusations() == []


def test_numbers_that_are_wrong_on_the_floor_too_are_the_models(remembering) -> None:  # noqa: F811
    bad = faulty("gpu", of=CPU, fault="nan", phase="decode", step=2)
    floor = faulty("cpu", of=CPU, fault="nan", phase="decode", step=1, floor=True)
    with pytest.raises(Exception, match="no backend is left"):
        ask(remembering(bad, floor))
    assert accusations() == []
    ask(remembering(bad, CPU))
    assert len(accusations()) == 1


def test_another_device_than_last_time_has_known_answers_first(remembering) -> None:  # noqa: F811
    ask(remembering(GPU, CPU))
    with closing(Ledger.open()) as ledger:  # as if it had been another one, which is sound
        last = ledger.last_opened("gpu", "")
        before = remembering(GPU, CPU)
        ledger.unprobe(before._past.key(GPU))
        ledger.opened("gpu", "", replace(last, address="0000:0a:00.0"))
        ledger.probed(remembering(GPU, CPU)._past.key(GPU), True)
    reply = ask(remembering(GPU, CPU))
    phases = [event.phase for event in reply.events if isinstance(event, Loading)]
    assert reply.fallbacks == []
    second = len(phases) - 1 - phases[::-1].index("open")
    assert phases.count("open") == 2
    assert phases.index("check", second) < phases.index("load", second)


def test_a_stuck_worker_of_a_survey_keeps_every_backend_off_its_device(options) -> None:
    hung = faulty("gpu", of=CPU, fault="hang", phase="check")
    Stuck.reachable = False
    made: list[WorkerProcess] = []

    class Kept(Stuck):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            made.append(self)

    try:
        (health,) = list_backends([hung], replace(options, process=Kept), probe=True)
        assert health.status == "failed"
        assert any("stuck in its driver" in reason for reason in accusations())
    finally:
        Stuck.reachable = True
        for process in made:
            process.kill(1)


def inherited(before: set[str]) -> int:
    """How many descriptors are open that were not before."""
    return len(
        [
            fd
            for fd in set(os.listdir("/proc/self/fd")) - before
            if Path(f"/proc/self/fd/{fd}").exists()
        ]
    )


def test_a_child_of_the_host_keeps_no_worker_alive_and_ends_none() -> None:
    before = set(os.listdir("/proc/self/fd"))
    worker = WorkerProcess((sys.executable, "-S", "-c", "import time\ntime.sleep(60)"), {})
    if (child := os.fork()) == 0:
        worker.kill(0.1)
        os._exit(inherited(before))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    time.sleep(0.2)
    assert worker.process.poll() is None
    assert worker.kill(2)
    assert gone(worker.process.pid)


def test_a_variable_that_cannot_be_is_a_backend_that_cannot_start(supervise) -> None:
    bad = BackendSpec("bad", CPU.factory, env={"A": "a\0b"})
    odd = BackendSpec("odd", CPU.factory, options={"a": "\ud800"})
    reply = ask(supervise(bad, odd, CPU), prompt=PROMPT, count=2)
    assert [f.source for f in reply.fallbacks] == ["bad", "odd"]
    assert len(reply.tokens) == 2


def test_what_a_device_is_called_is_fit_for_a_terminal() -> None:
    device = presentable(Device("\x1b[2J" + "n" * 10**6, "\ud800", "a\nb"), "mine")
    assert len(device.name) <= 200
    assert all(text.isprintable() for text in (device.name, device.kind, device.id))
    assert presentable(Device("", id=""), "mine").key == "mine"
    assert presentable(Device("GPU", "discrete", "1"), "mine") == Device("GPU", "discrete", "1")


def test_a_marker_names_the_device_that_was_opened(remembering) -> None:  # noqa: F811
    supervisor = remembering(GPU, CPU)
    events = supervisor.generate(PROMPT, GREEDY, 5, [])
    while not isinstance(next(events), Token):
        pass
    with closing(Ledger.open()) as ledger:
        found = ledger._database.read(lambda db: Rows(db, "markers", Mark).all(), {})
    assert [mark.key.device for mark in found.values()] == [supervisor.runner.device.key]
    events.close()
    assert marks() == []


def test_a_process_whose_worker_is_well_goes_on_where_another_ones_hung(remembering) -> None:  # noqa: F811
    well = remembering(GPU, CPU)
    events = well.generate(PROMPT, GREEDY, 60, [])
    while not isinstance(next(events), Token):
        pass
    with closing(Ledger.open()) as ledger:  # what the other process writes down
        ledger.quarantine(well._past.key(GPU), "no progress for 2 s in decode", "decode")
        assert len(list(events)) == 59
    assert ask(well).fallbacks == []  # its worker holds the device, and answers
    (fallback,) = ask(remembering(GPU, CPU)).fallbacks
    assert not fallback.tried


def test_a_backend_that_says_no_leaves_no_record_of_a_hang(remembering) -> None:  # noqa: F811
    absent = BackendSpec("absent", "no.module:Backend")
    (fallback,) = ask(remembering(absent, CPU)).fallbacks
    assert "cannot be imported" in fallback.reason
    assert fallback.record == ""
    hung = faulty("gpu", of=CPU, fault="exit", phase="open")
    (fallback,) = ask(remembering(hung, CPU)).fallbacks
    assert Path(fallback.record).is_file()


def test_a_device_can_be_looked_at_while_a_reply_uses_it(remembering, options) -> None:  # noqa: F811
    supervisor = remembering(SLOW, CPU)
    events = supervisor.generate(PROMPT, GREEDY, 8, [])
    while not isinstance(next(events), Token):
        pass
    (health,) = list_backends([SLOW], options, probe=True)
    assert health.status == "ready"
    assert marks() == ["decode"]  # the reply's own is still there
    assert len(list(events)) == 7
    assert accusations() == []
