"""Markers: who was using a GPU when everything ended."""

import os
import sqlite3
from dataclasses import replace

from forge.state import Ledger, ProcessId


def rows(tmp_path) -> int:
    with sqlite3.connect(tmp_path / "state/state.db") as connection:
        count = connection.execute("SELECT count(*) FROM markers").fetchone()[0]
    connection.close()
    return count


def test_a_marker_is_there_until_it_is_cleared(ledger, key, tmp_path):
    marker = ledger.mark(key, "open")
    other = ledger.mark(key, "open")
    assert rows(tmp_path) == 2
    marker.phase("load")
    marker.clear()
    assert rows(tmp_path) == 1
    marker.clear()
    marker.phase("decode")
    assert rows(tmp_path) == 1
    other.clear()
    assert rows(tmp_path) == 0


def test_nothing_left_behind_is_nothing_to_recover(ledger, key):
    assert ledger.recover() == []
    ledger.mark(key, "load").clear()
    assert ledger.recover() == []


def test_a_killed_forge_accuses_nobody_but_asks_for_a_probe(ledger, key, machine):
    ledger.probed(key, True)
    ledger.mark(key, "decode")
    machine.gone(os.getpid())
    [found] = ledger.recover()
    assert (found.key, found.phase, found.quarantine) == (key, "decode", None)
    assert ledger.quarantined(key) is None
    assert ledger.last_probe(key) is None
    assert ledger.recover() == []


def test_a_machine_that_went_down_accuses_what_was_at_work(ledger, key, machine):
    ledger.mark(key, "load").phase("decode")
    machine.boot("second")
    machine.time += 60
    [found] = ledger.recover()
    assert found.phase == "decode"
    assert found.quarantine == ledger.quarantined(key)
    assert "the machine went down while" in found.quarantine.reason
    assert (found.quarantine.phase, found.quarantine.when) == ("decode", 1000.0)
    assert ledger.quarantined(replace(key, backend="vulkan")) is None
    assert ledger.recover() == []


def test_a_machine_that_went_down_idle_accuses_nobody(ledger, key, machine):
    ledger.mark(key, "decode").clear()
    machine.boot("second")
    assert ledger.recover() == []
    assert ledger.quarantines({}) == []


def test_another_forge_that_runs_is_left_alone(ledger, key, machine, tmp_path):
    ledger.mark(key, "decode")
    with Ledger.open(tmp_path / "state", machine.seen()) as other:
        assert other.recover() == []
    assert rows(tmp_path) == 1


def test_a_number_that_went_to_another_process_is_not_mistaken_for_forge(ledger, key, machine):
    ledger.mark(key, "decode")
    machine.process(ProcessId(os.getpid(), 51))
    [found] = ledger.recover()
    assert found.quarantine is None


def test_another_machine_on_the_same_folder_looks_after_its_own(ledger, key, machine, tmp_path):
    ledger.mark(key, "decode")
    machine.boot("second")
    (machine.root / "etc/machine-id").write_text("another\n")
    assert ledger.recover() == []
    (machine.root / "etc/machine-id").write_text("this-machine\n")
    assert len(ledger.recover()) == 1


def test_where_boots_have_no_name_the_process_decides(ledger, key, machine):
    (machine.proc / "sys/kernel/random/boot_id").unlink()
    ledger.mark(key, "decode")
    assert ledger.recover() == []
    machine.gone(os.getpid())
    [found] = ledger.recover()
    assert found.quarantine is None


def test_a_marker_outlives_a_database_that_was_deleted(ledger, key, machine, tmp_path):
    marker = ledger.mark(key, "load")
    (tmp_path / "state/state.db").unlink()
    with Ledger.open(tmp_path / "state", machine.seen()) as other:
        theirs = other.mark(key, "open")  # gets the number that ours had in the old file
        marker.phase("decode")
        assert rows(tmp_path) == 2
        marker.clear()
        assert rows(tmp_path) == 1
        theirs.clear()
        assert rows(tmp_path) == 0
