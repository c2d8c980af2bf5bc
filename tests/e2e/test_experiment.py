"""`forge doctor --experiment` as a person runs it, with backends that a variable makes well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from forge.spec import BackendSpec
from forge.state import Ledger, Machine
from forge.testing.environment import with_plugin
from forge.testing.faulty import faulty

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GPU = replace(CPU, name="gpu", floor=False, priority=9, stack="rocm")
TRY = ("doctor", "--experiment", "--patience", "0.2", "-n", "8")
MOODY = '''"""Fails as its options say, unless the variable in them has its value."""
import os
from dataclasses import replace

from forge.testing.faulty import FaultyBackend


class Moody(FaultyBackend):
    """Behaves where the environment says NAME=VALUE; with "!", where it does not."""

    def __init__(self, config):
        name, _, value = config.options["moody"].removeprefix("!").partition("=")
        well = os.environ.get(name) == value
        if well != config.options["moody"].startswith("!"):
            config = replace(config, options={**config.options, "faulty.step": "1000000"})
        super().__init__(config)
'''


@pytest.fixture
def installed(tmp_path):
    """The environment of a machine whose backend `gpu` fails so, unless it is NAME=VALUE."""

    def installed(unless: str, **how: object) -> dict[str, str]:
        fails = faulty("gpu", of=GPU, **how)
        moody = replace(fails, factory="moody:Moody", options={**fails.options, "moody": unless})
        env = with_plugin(tmp_path / "plugin", [moody, CPU])
        (tmp_path / "plugin" / "moody.py").write_text(MOODY, encoding="utf-8")
        return {
            **env,
            "FORGE_STATE": str(tmp_path / "state"),
            "FORGE_CONFIG": str(tmp_path / "config.toml"),
        }

    return installed


HANGS = {"fault": "hang", "phase": "decode", "step": 3}


def trials(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict]:
    rows = json.loads(done.stdout)["trials"]
    return {(row["backend"], row["strategy"]): row for row in rows}


def test_the_setting_that_helps_is_found_kept_and_used_from_then_on(
    forge, installed, tiny_chat, tmp_path
):
    env = installed("HSA_ENABLE_SDMA=0", **HANGS)
    only = ("--only", "no-sdma", "--only", "one-queue")
    done = forge(*TRY, *only, "-m", tiny_chat, "--yes", "--keep", "--json", env=env)
    assert done.returncode == 0, done.stderr
    found = trials(done)
    assert list(found) == [
        *(("gpu", name) for name in ("as it is", "no-sdma", "one-queue")),
        ("cpu", "as it is"),
    ]
    plain, helped = found["gpu", "as it is"], found["gpu", "no-sdma"]
    assert (plain["ok"], plain["reached"], plain["kind"]) == (False, "decode", "BackendHung")
    assert plain["tokens"] == 3
    assert (helped["ok"], helped["reached"], helped["tokens"]) == (True, "reply", 8)
    assert found["gpu", "one-queue"]["kind"] == "BackendHung"
    whole = json.loads(done.stdout)
    assert whole["winners"] == [{"backend": "gpu", "strategy": "no-sdma"}]
    assert (whole["kept"], whole["stopped"]) == (["gpu"], None)
    assert 'HSA_ENABLE_SDMA = "0"' in (tmp_path / "config.toml").read_text("utf-8")

    record = json.loads(Path(plain["record"]).read_text("utf-8"))
    assert (record["phase"], record["prompt_tokens"]) == ("decode", 64)
    reply = forge("run", "-m", tiny_chat, "--tokens", "5,6", "-n", "4", "--json", env=env)
    assert json.loads(reply.stdout)["backend"] == "gpu", reply.stderr


def test_the_table_says_what_works_and_nothing_is_kept_untold(
    forge, installed, tiny_chat, tmp_path
):
    env = installed("FORGE_TEST_MOOD=good", **HANGS)
    mine = ("--env", "FORGE_TEST_MOOD=good", "--only", "FORGE_TEST_MOOD=good")
    done = forge(*TRY, *mine, "-m", tiny_chat, "--yes", env=env)
    assert done.returncode == 0, done.stderr
    assert "Save your work" in done.stderr
    assert "gpu works with: FORGE_TEST_MOOD=good" in done.stdout
    assert "BackendHung: no progress for" in done.stdout
    assert not (tmp_path / "config.toml").exists()
    listed = json.loads(forge("quarantine", "list", "--json", env=env).stdout)
    assert [(entry["backend"], entry["phase"]) for entry in listed] == [("gpu", "decode")]


def test_what_is_in_quarantine_is_tried_all_the_same_after_saying_so(forge, installed, tiny_chat):
    env = installed("FORGE_TEST_MOOD=good", **HANGS)
    forge("quarantine", "add", "gpu", "--reason", "it smells", env=env)
    only = ("--only", "FORGE_TEST_MOOD=good", "--env", "FORGE_TEST_MOOD=good")
    done = forge(*TRY, *only, "-m", tiny_chat, "--yes", "--json", env=env)
    assert "in quarantine since" in done.stderr
    assert "it smells" in done.stderr
    assert "it is tried all the same" in done.stderr
    assert trials(done)["gpu", "FORGE_TEST_MOOD=good"]["ok"] is True


def test_a_harmful_variable_is_taken_away(forge, installed, tiny_chat, tmp_path):
    env = installed("!HSA_OVERRIDE_GFX_VERSION=11.0.0", fault="abort", phase="check")
    env["HSA_OVERRIDE_GFX_VERSION"] = "11.0.0"
    done = forge(*TRY, "--only", "no-override", "-m", tiny_chat, "--yes", "--keep", env=env)
    assert done.returncode == 0, done.stderr
    assert "gpu works with: unset HSA_OVERRIDE_GFX_VERSION" in done.stdout
    assert not (tmp_path / "config.toml").exists()  # no line there could take a variable away


def test_numbers_that_are_wrong_are_on_record_and_help_nobody(forge, installed, tiny_chat):
    env = installed("FORGE_TEST_MOOD=good", fault="wrong", phase="check")
    done = forge(*TRY, "--only", "one-queue", "-m", tiny_chat, "--yes", "--json", env=env)
    found = trials(done)
    assert found["gpu", "as it is"]["kind"] == "BackendWrong"
    assert found["gpu", "one-queue"]["kind"] == "BackendWrong"
    assert json.loads(done.stdout)["winners"] == []
    listed = json.loads(forge("quarantine", "list", "--json", env=env).stdout)
    assert len(listed) == 2  # one for each setting


def test_it_stops_where_known_answers_fail_after_a_kill(forge, installed, tiny_chat):
    # The backend is well until a strategy kills it; from then on it is wrong as it is, too.
    env = installed("HSA_ENABLE_SDMA=0", **HANGS)
    plugin = Path(env["PYTHONPATH"].partition(":")[0]) / "moody.py"
    broken = plugin.parent / "broken"
    plugin.write_text(
        MOODY.replace(
            "        super().__init__(config)\n",
            f"        broken = {str(broken)!r}\n"
            "        if os.path.exists(broken):\n"
            '            raise RuntimeError("the device is gone")\n'
            '        if os.environ.get("GPU_MAX_HW_QUEUES") == "1":\n'
            '            open(broken, "w").close()\n'
            "            os.abort()\n"
            "        super().__init__(config)\n",
        ),
        encoding="utf-8",
    )
    done = forge(*TRY, "-m", tiny_chat, "--yes", "--json", env=env)
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    assert [row["strategy"] for row in whole["trials"]][-1] == "one-queue"
    assert "where known answers came out right before, fails on this device now" in whole["stopped"]
    assert {"backend": "cpu", "strategy": "as it is"} in whole["untried"]


def test_it_asks_first_and_without_a_terminal_it_refuses(forge, installed, tiny_chat, tmp_path):
    env = installed("FORGE_TEST_MOOD=good", **HANGS)
    done = forge(*TRY, "-m", tiny_chat, env=env)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not (tmp_path / "state" / "hangs").exists()


def test_at_a_terminal_a_no_is_a_no_and_a_yes_a_yes(
    forge_command, installed, terminal, tiny_chat, tmp_path, monkeypatch
):
    for name, value in installed("HSA_ENABLE_SDMA=0", **HANGS).items():
        monkeypatch.setenv(name, value)
    command = [*forge_command, *TRY, "--only", "no-sdma", "-m", str(tiny_chat)]
    refused = terminal(command)
    refused.wait_for("Go on? [y/N] ")
    refused.type("\n")
    refused.wait_for("nothing was tried")
    assert refused.end() == 1
    assert not (tmp_path / "state" / "hangs").exists()

    allowed = terminal(command)
    allowed.wait_for("Go on? [y/N] ")
    allowed.type("y\n")
    allowed.wait_for("Keep HSA_ENABLE_SDMA=0 for gpu in ")
    allowed.wait_for("[y/N] ")
    allowed.type("yes\n")
    assert allowed.end() == 0
    assert "HSA_ENABLE_SDMA" in (tmp_path / "config.toml").read_text("utf-8")


def test_ctrl_c_ends_it_with_the_table_so_far_and_no_worker_left(
    forge_command, installed, terminal, tiny_chat, monkeypatch
):
    env = installed("HSA_ENABLE_SDMA=0", **HANGS)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    running = terminal([*forge_command, *TRY, "--yes", "--patience", "50", "-m", str(tiny_chat)])
    running.wait_for("gpu: as it is")
    time.sleep(2)  # it hangs by then, and has a minute and more to do so
    running.type("\x03")
    running.wait_for("stopped: you stopped it")
    assert running.end() == 130
    assert workers_of(env["FORGE_STATE"]) == []


def test_a_machine_that_freezes_in_it_is_noticed_afterwards(
    forge_command, installed, terminal, tiny_chat, tmp_path, monkeypatch
):
    for name, value in installed("HSA_ENABLE_SDMA=0", **HANGS).items():
        monkeypatch.setenv(name, value)
    running = terminal([*forge_command, *TRY, "--yes", "--patience", "50", "-m", str(tiny_chat)])
    running.wait_for("gpu: as it is")
    time.sleep(2)
    shutil.copytree(tmp_path / "state", tmp_path / "disk")  # what a power cut would leave
    running.type("\x03")
    later = tmp_path / "proc/sys/kernel/random/boot_id"
    later.parent.mkdir(parents=True)
    later.write_text("another boot\n")
    with Ledger.open(tmp_path / "disk", Machine(proc=tmp_path / "proc")) as ledger:
        (left,) = ledger.recover()
    assert left.key.backend == "gpu"
    assert left.quarantine is not None
    assert "the machine went down" in left.quarantine.reason
    assert running.end() == 130


def test_where_the_drivers_files_do_not_answer_nothing_is_tried(forge, tmp_path):
    file = tmp_path / "root/sys/bus/pci/devices/0000:03:00.0/fw_version/mes_fw_version"
    file.parent.mkdir(parents=True)
    for name, text in (("class", "0x030000"), ("vendor", "0x1002"), ("device", "0x744c")):
        (file.parents[1] / name).write_text(f"{text}\n")
    os.mkfifo(file)
    done = forge("doctor", "--experiment", "--yes", "--root", tmp_path / "root")
    assert done.returncode == 1
    assert "nothing can be tried before a reboot" in done.stderr


def workers_of(state: str) -> list[str]:
    """Processes that have this state folder in their environment, after they had time to go."""
    end, found = time.monotonic() + 10, ["?"]
    while found and time.monotonic() < end:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    env = (folder / "environ").read_bytes()
                    what = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if state.encode() in env and b"forge" in what:
                    found.append(folder.name)
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep"], "--keep goes with --experiment"),
        (["--experiment", "--report", "x.tar.gz"], "--experiment goes without --report"),
        (["--experiment", "--yes", "--env", "nonsense"], "write it as NAME=VALUE"),
        (["--experiment", "--yes", "--only", "nonsense"], "--only 'nonsense': there is"),
        (["--experiment", "--yes", "-b", "nonsense"], "nonsense"),
        (["--experiment", "--yes", "-n", "0"], "ask for at least 1"),
        (["--experiment", "--yes", "--patience", "0"], "give a positive factor"),
    ],
)
def test_what_is_wrong_with_the_call_is_said_with_code_2(forge, arguments, words):
    done = forge("doctor", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
