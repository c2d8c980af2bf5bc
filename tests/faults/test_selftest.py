"""A self-test of a device that hangs ends, says so, and does not ask it again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from forge.past import Past
from forge.selftest import Answer, Report, self_test
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.testing.faulty import faulty
from forge.worker_options import WorkerOptions

GPU = BackendSpec("gpu", "forge_cpu.backend:CpuBackend", priority=9)
FLOORS = {"check": 0.5, "compile": 5.0, "load": 5.0, "open": 5.0, "start": 5.0, "idle": 5.0}


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_STATE", str(tmp_path))


def ran(spec: BackendSpec, options: WorkerOptions) -> tuple[list[Answer], Report]:
    running, answers = self_test(spec, options, None, types=["q4_0"]), list[Answer]()
    while True:
        try:
            answers.append(next(running))
        except StopIteration as end:
            return answers, end.value


@pytest.mark.usefixtures("own_state")
def test_a_device_that_hangs_is_asked_nothing_more_and_its_failure_kept() -> None:
    hangs = faulty("gpu", of=GPU, fault="hang", phase="check", step=4)
    options = WorkerOptions(None, seconds=FLOORS, asked="gpu")
    answers, report = ran(hangs, options)
    assert len(answers) == 1
    assert "no progress for" in answers[0].detail
    assert (report.ok, report.stopped) == (False, "the device is not asked anything more")
    assert report.device is not None
    with closing(Past(replace(options, remember=True), Ledger.open())) as past:
        assert past.quarantine(hangs) is not None
        assert not past.self_tested(hangs)
