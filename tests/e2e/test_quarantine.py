"""`forge quarantine`, as a person runs it."""

from __future__ import annotations

import json

import pytest

from forge.state import Key, Ledger


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def quarantine(forge, folder):
    return lambda *words: forge("quarantine", *words, env={"FORGE_STATE": str(folder)})


@pytest.fixture
def filled(folder):
    """Three entries: one that holds, one that lapsed, one of every backend until reboot."""
    with Ledger.open(folder) as ledger:
        ledger.quarantine(
            Key("hip", "0000:03:00.0"), "no token for 16 s", "decode", record="a.json"
        )
        ledger.quarantine(Key("vulkan", "0", {"kernel": "5.0.0-no-such"}), "device \x1b[2J lost")
        other = Key("hip", "0000:04:00.0")
        ledger.quarantine(other, "its reset failed", until_reboot=True, every_backend=True)


def test_nothing_in_quarantine_is_said_so(quarantine):
    done = quarantine("list")
    assert (done.returncode, done.stdout) == (0, "nothing is in quarantine\n")
    assert json.loads(quarantine("list", "--json").stdout) == []
    assert quarantine("clear", "all").stdout == "there was nothing to clear\n"


def test_each_entry_says_what_why_and_how_to_lift_it(quarantine, filled):
    done = quarantine("list")
    assert done.returncode == 0
    first, second, third = done.stdout.split("\n\n")
    for part in ("#1 hip on device 0000:03:00.0: no token for 16 s", "in phase decode", "a.json"):
        assert part in first
    assert "holds until you lift it; to lift it: forge quarantine clear 1" in first
    assert "no longer holds: kernel 5.0.0-no-such -> " in second
    assert "\x1b" not in second
    assert "#3 every backend on device 0000:04:00.0: its reset failed" in third
    assert "holds until the machine restarts" in third


def test_json_has_every_field(quarantine, filled):
    first, second, third = json.loads(quarantine("list", "--json").stdout)
    assert first == {
        "id": 1,
        "backend": "hip",
        "device": "0000:03:00.0",
        "every_backend": False,
        "until_reboot": False,
        "reason": "no token for 16 s",
        "phase": "decode",
        "when": first["when"],
        "record": "a.json",
        "parts": {},
        "holds": True,
        "changed": [],
    }
    assert not second["holds"]
    assert len(second["changed"]) == 1
    assert third["every_backend"]
    assert third["until_reboot"]


def test_clearing_takes_a_number_a_backend_or_all(quarantine, filled):
    assert quarantine("clear", "#2").stdout == "1 entry cleared\n"
    assert quarantine("clear", "hip").stdout == "2 entries cleared\n"
    assert quarantine("list").stdout == "nothing is in quarantine\n"


def test_what_is_added_holds_until_it_is_cleared(quarantine, folder, forge, tmp_path):
    (tmp_path / "sham-1.dist-info").mkdir()
    (tmp_path / "sham-1.dist-info/METADATA").write_text("Name: sham\nVersion: 1\n")
    (tmp_path / "sham-1.dist-info/entry_points.txt").write_text("[forge]\nsham = sham_plugin\n")
    (tmp_path / "sham_plugin.py").write_text(
        "from forge import BackendSpec, hookimpl\n@hookimpl\ndef forge_backends():\n"
        "    return [BackendSpec('sham', 'm:C')]\n"
    )
    env = {"FORGE_STATE": str(folder), "PYTHONPATH": str(tmp_path), "FORGE_PLUGINS": "cpu,sham"}
    done = forge("quarantine", "add", "sham", "--device", "0", "--reason", "too loud", env=env)
    assert (done.returncode, done.stdout) == (
        0,
        "#1 added; forge quarantine clear 1 lifts it\n",
    )
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(Key("sham", "0", {"kernel": "any"})).reason == "too loud"
        assert ledger.quarantined(Key("sham", "1")) is None
    assert "#1 sham on device 0: too loud" in quarantine("list").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "required"),
        (["lift"], "invalid choice"),
        (["add"], "required"),
        (["add", "cpu"], "falls back"),
        (["add", "no-such"], "there is no backend 'no-such'"),
        (["clear"], "required"),
        (["clear", "99"], "no quarantine has the number 99"),
        (["clear", "no-such"], "there is no backend 'no-such'"),
    ],
)
def test_nonsense_is_refused(quarantine, words, says):
    done = quarantine(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_damaged_database_is_reported_and_listed_as_empty(quarantine, filled, folder):
    (folder / "state.db").write_bytes(b"\xff" * 5000)
    done = quarantine("list")
    assert (done.returncode, done.stdout) == (0, "nothing is in quarantine\n")
    assert "state.db.damaged" in done.stderr
    assert (folder / "state.db.damaged").read_bytes() == b"\xff" * 5000
    assert quarantine("list").stderr == ""


def test_where_nothing_can_be_kept_adding_fails_and_says_why(forge, tmp_path):
    (tmp_path / "file").write_text("")
    env = {"FORGE_STATE": str(tmp_path / "file")}
    assert forge("quarantine", "list", env=env).returncode == 0
    done = forge("quarantine", "clear", "all", env=env)
    assert done.returncode == 0
    assert "forgotten" in done.stderr
