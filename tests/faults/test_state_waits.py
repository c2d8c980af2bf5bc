"""The ledger when others keep its locks, and when a signal or a fork interrupts its work."""

from __future__ import annotations

import os
import sqlite3
import time

import pytest

from forge.state import Ledger

from .state import KEY, finish, killed, start, whole


def test_a_lock_that_is_kept_for_ever_costs_one_wait_and_no_more(tmp_path):
    folder = tmp_path / "state"
    with Ledger.open(folder) as ledger:
        ledger.quarantine(KEY, "hung")
        child = start(
            "import sqlite3\nc = sqlite3.connect(folder / 'state.db', isolation_level=None)\n"
            "c.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\nsys.stdin.readline()\n",
            folder,
        )
        child.stdout.readline()
        marker = ledger.mark(KEY, "load")
        assert "locked" in ledger.notes[0]
        begun = time.monotonic()
        for _ in range(100):
            ledger.probed(KEY, True)
        marker.clear()
        assert time.monotonic() - begun < 50  # a hundred waits would be a hundred seconds
        assert ledger.quarantined(KEY).reason == "hung"  # readers wait for nobody
        killed(child)


def test_a_marker_that_was_set_is_cleared_as_soon_as_a_lock_is_let_go(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        marker = ledger.mark(KEY, "load")
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ledger.probed(KEY, True)
        assert "locked" in ledger.notes[0]
        other.execute("ROLLBACK")
        marker.clear()
        assert other.execute("SELECT count(*) FROM markers").fetchone() == (0,)
        other.close()


@pytest.mark.parametrize("name", ["state.db", "state.db.lock"])
def test_a_file_that_is_locked_for_ever_is_done_without(tmp_path, name):
    folder = tmp_path / "state"
    with Ledger.open(folder) as ledger:
        ledger.quarantine(KEY, "hung")
    locks = {
        "state.db": "c = sqlite3.connect(folder / 'state.db', isolation_level=None)\n"
        "c.execute('PRAGMA locking_mode=EXCLUSIVE'); c.execute('BEGIN EXCLUSIVE')\n",
        "state.db.lock": "f = open(folder / 'state.db.lock'); fcntl.flock(f, fcntl.LOCK_EX)\n",
    }
    rest = "print('locked', flush=True)\nsys.stdin.readline()\n"
    child = start("import fcntl, sqlite3\n" + locks[name] + rest, folder)
    child.stdout.readline()
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(KEY) is None
        ledger.quarantine(KEY, "hung here")
        assert ledger.quarantined(KEY).reason == "hung here"  # until this process ends
        assert not ledger.kept
        assert "locked" in ledger.notes[0]
    killed(child)
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(KEY).reason == "hung"


def test_an_interrupt_at_any_moment_leaves_the_database_in_use(tmp_path):
    """Ctrl-C in the middle of a transaction undoes it; the next one begins as ever."""
    child = start(
        "import os, signal, time\n"
        "ledger = Ledger.open(folder)\n"
        "ledger.quarantine(KEY, 'hung')\n"
        "interrupts = 0\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "for n in range(300):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 1e-4 + n * 2e-6)\n"
        "        for _ in range(4):\n"
        "            ledger.add_paces('dev', 'hip', {('decode', 0): [1.0] * BINS})\n"
        "        time.sleep(1)\n"
        "    except KeyboardInterrupt:\n"
        "        interrupts += 1\n"
        "print(interrupts, ledger.quarantined(KEY).reason, *ledger.notes)\n",
        tmp_path,
    )
    assert finish(child) == "300 hung\n"
    assert not list(tmp_path.glob("*.damaged*"))
    whole(tmp_path)


def test_a_signal_handler_may_use_the_ledger_in_the_middle_of_its_work(tmp_path):
    child = start(
        "import signal\n"
        "ledger = Ledger.open(folder)\n"
        "marker = ledger.mark(KEY, 'decode')\n"
        "cleared = 0\n"
        "def clear(*_):\n"
        "    global cleared\n"
        "    marker.clear()\n"
        "    cleared += 1\n"
        "signal.signal(signal.SIGALRM, clear)\n"
        "for n in range(300):\n"
        "    signal.setitimer(signal.ITIMER_REAL, 1e-4 + n * 2e-6)\n"
        "    while cleared <= n:\n"
        "        ledger.quarantine(KEY, 'hung')\n"
        "        ledger.add_paces('dev', 'hip', {('decode', 0): [1.0] * BINS})\n"
        "print(ledger.quarantined(KEY).reason, *ledger.notes)\n",
        tmp_path,
    )
    assert finish(child) == "hung\n"
    with Ledger.open(tmp_path) as ledger:
        assert ledger.recover() == []
    whole(tmp_path)


def test_a_child_that_was_forked_has_a_connection_of_its_own(tmp_path):
    child = start(
        "import os\nledger = Ledger.open(folder)\nledger.quarantine(KEY, 'hung')\n"
        "pid = os.fork()\n"
        "for _ in range(100):\n"
        "    ledger.add_paces('dev', 'hip', {('decode', 0): [1.0] * BINS}, 1.0)\n"
        "if pid:\n"
        "    os.waitpid(pid, 0)\n"
        "    print(ledger.paces('dev', 'hip')['decode', 0][0], *ledger.notes)\n"
        "ledger.close()\n",
        tmp_path / "state",
    )
    assert finish(child) == "200.0\n"
    assert os.path.exists(tmp_path / "state/state.db")
    whole(tmp_path / "state")
