"""What a person at a shell sees when a backend fails: one line, and the rest of the sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from forge.spec import BackendSpec
from forge.testing.environment import with_plugin
from forge.testing.faulty import faulty

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GPU = replace(CPU, name="gpu", floor=False, priority=9)
ASK = ("--tokens", "5,6,7,8", "-n", "8", "--temp", "0", "--patience", "0.2")


@pytest.fixture
def installed(tmp_path):
    """The environment of a machine with a backend `gpu` that fails, and with the floor."""

    def installed(*backends: BackendSpec) -> dict[str, str]:
        return with_plugin(tmp_path / "plugin", [*backends, CPU])

    return installed


def test_a_hang_in_mid_reply_is_one_line_and_the_reply_is_whole(forge, installed, tiny_chat):
    env = installed(replace(faulty("gpu", of=GPU, fault="hang", phase="decode", step=3)))
    run = ("run", "-m", tiny_chat, *ASK, "--json")
    moved = forge(*run, env=env)
    assert moved.returncode == 0
    (line,) = moved.stderr.splitlines()
    assert line.startswith("forge: gpu failed (no progress for ")
    assert line.endswith("the reply goes on with cpu after 3 tokens; `forge doctor` says more")
    found = json.loads(moved.stdout)
    (fallback,) = found["fallbacks"]
    assert (fallback["from"], fallback["to"], fallback["at_token"]) == ("gpu", "cpu", 3)
    assert json.loads(Path(fallback["record"]).read_text("utf-8"))["phase"] == "decode"

    again = forge(*run, env=env)
    assert again.returncode == 0
    (line,) = again.stderr.splitlines()
    assert line.startswith("forge: gpu is not used (in quarantine since ")
    assert "forge quarantine clear" in line
    assert line.endswith("cpu answers")
    alone = json.loads(forge(*run, "-b", "cpu", env=env).stdout)
    assert found["tokens"] == json.loads(again.stdout)["tokens"] == alone["tokens"]
    assert alone["fallbacks"] == []


def test_strict_explains_and_exits_with_3_then_and_ever_after(forge, installed, tiny_chat):
    env = installed(faulty("gpu", of=GPU, fault="abort", phase="decode", step=2))
    run = ("run", "-m", tiny_chat, *ASK, "--strict")
    first = forge(*run, env=env)
    assert first.returncode == 3
    assert "gpu: the worker was killed by SIGABRT" in first.stderr
    assert "--strict" in first.stderr
    second = forge(*run, env=env)
    assert second.returncode == 3
    assert "in quarantine since" in second.stderr
    assert second.stdout == ""


def test_a_quarantine_is_listed_lifted_and_tried_again(forge, installed, tiny_chat):
    env = installed(faulty("gpu", of=GPU, fault="nan", phase="decode", step=2))
    forge("run", "-m", tiny_chat, *ASK, env=env)
    (entry,) = json.loads(forge("quarantine", "list", "--json", env=env).stdout)
    assert entry["backend"] == "gpu"
    listed = forge("backends", "-m", tiny_chat, env=env).stdout
    assert "quarantined" in listed
    assert forge("quarantine", "clear", "gpu", env=env).returncode == 0
    again = forge("run", "-m", tiny_chat, *ASK, env=env)
    assert "gpu failed" in again.stderr


def test_backends_are_listed_in_order_with_a_reason_and_their_known_answers(forge, installed):
    proud = replace(GPU, name="proud", priority=1, proven=20)
    env = installed(GPU, proud, faulty("liar", of=GPU, fault="wrong", phase="check"))
    found = json.loads(forge("backends", "--probe", "--json", env=env).stdout)
    assert [health["backend"] for health in found] == ["gpu", "liar", "proud", "cpu"]
    assert [health["status"] for health in found] == ["ready", "failed", "ready", "ready"]
    assert "forge selftest -b proud" in found[2]["place"]
    assert "floor" in found[3]["place"]
    assert "wrongly" in found[1]["checks"][0]["detail"]
    answers = [check["name"] for check in found[0]["checks"]]
    assert "known answers" in answers


ASKED = """
import sys, forge
best = forge.best_device(sys.argv[1])
assert best.reason
print(best.backend, *((health.backend, health.status) for health in best.passed_over))
print(*(health.status for health in forge.best_device().passed_over))
print(forge.best_device(backend="cpu").backend)
"""


def test_the_best_device_is_asked_for_before_anything_is_committed(installed, tiny_chat):
    env = installed(faulty("bad", of=replace(GPU, priority=20), fault="abort", phase="open"), GPU)
    done = subprocess.run(
        [sys.executable, "-P", "-c", ASKED, str(tiny_chat)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.splitlines() == ["gpu ('bad', 'failed')", "quarantined", "cpu"]
