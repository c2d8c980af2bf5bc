"""`forge selftest`: known answers and a soak, and a report of both; real workers, real failures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forge.graph import Op
from forge.spec import BackendSpec
from forge.testing.environment import with_plugin
from forge.testing.faulty import faulty

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GPU = replace(CPU, name="gpu", floor=False, priority=9)
SOME = ("--types", "q4_0,Q8_0", "--seconds", "0.2")
ONE = ("--types", "q4_0", "--seconds", "0.2")


@pytest.fixture
def tested(forge, tiny_chat: Path, tmp_path: Path) -> Callable[..., Any]:
    """Test a backend called `gpu`; what the command said."""

    def tested(backend: BackendSpec, *arguments: str) -> Any:
        plugin = Path(tempfile.mkdtemp(dir=tmp_path))
        env = {**with_plugin(plugin, [backend, CPU]), "FORGE_STATE": str(tmp_path / "state")}
        return forge("selftest", "-b", "gpu", "-m", tiny_chat, *arguments, env=env)

    return tested


def test_a_sound_backend_passes_and_the_report_has_every_op(tested, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    done = tested(GPU, *SOME, "--report", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2].startswith("passed after ")
    assert "ok weights of q8_0: " in done.stdout
    assert "perplexity of a short text: " in done.stdout
    report = json.loads(file.read_text())
    assert (report["ok"], report["soak"]["ok"], report["stopped"]) == (True, True, "")
    asked = {case.split()[0] for answer in report["answers"] for case in answer["cases"]}
    assert {str(op) for op in Op} - {Op.MUL} <= asked, "but the one that no architecture has"
    assert all(0 < answer["error"] < 1e-3 for answer in report["answers"])
    assert report["soak"]["replies"] >= 6
    assert report["device"]["name"]


def test_a_backend_that_computes_wrongly_fails_and_the_rest_is_asked_all_the_same(tested) -> None:
    done = tested(faulty("gpu", of=GPU, fault="wrong", phase="check", step=5), *ONE, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["soak"]) == (1, False, None)
    assert len(report["answers"]) > 5
    first = report["answers"][0]
    assert "computes" in first["detail"]
    assert first["cases"] == ["embed q4_0", "rms_norm f32"], "what was right before it"


def test_a_backend_that_dies_is_not_asked_again_and_left_alone_from_then_on(tested) -> None:
    dies = faulty("gpu", of=GPU, fault="segfault", phase="check", step=3)
    done = tested(dies, *ONE)
    assert done.returncode == 1
    assert "SIGSEGV" in done.stdout
    assert "-- stopped: the device is not asked anything more" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED after ")
    again = tested(dies, *ONE)
    assert again.returncode == 3
    assert "forge quarantine clear" in again.stderr


def test_a_backend_that_dies_in_the_soak_fails(tested) -> None:
    done = tested(faulty("gpu", of=GPU, fault="abort", phase="decode", step=40), *ONE)
    assert done.returncode == 1
    assert "-- soak with tiny.gguf: 1 replies" in done.stdout
    assert "SIGABRT" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-b", "auto"), "name the backend to test"),
        (("-b", "cpu", "--types", "q4_9"), "weight types q4_9: known are f32"),
        (("-b", "cpu", "--seconds", "-1"), "--seconds -1: give 0 to"),
        (("-b", "nobody"), "nobody"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(forge, arguments: tuple[str, ...], said: str) -> None:
    done = forge("selftest", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_report_that_is_there_already_stays(forge, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("mine")
    done = forge("selftest", "-b", "cpu", *ONE, "--report", str(file))
    assert (done.returncode, file.read_text()) == (2, "mine")
    assert "--force" in done.stderr
