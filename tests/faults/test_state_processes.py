"""The ledger among real processes: many at once, killed at any moment, with power lost."""

from __future__ import annotations

import fcntl
import random
import signal
import time

import pytest

from forge.state import BINS, Ledger, Machine

from .state import KEY, finish, killed, start, whole

ADDS = """
number, times = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
print(flush=True)
with Ledger.open(folder) as ledger:
    for n in range(times):
        ledger.add_paces('dev', 'hip', {('decode', 0): [1.0] * BINS}, 1.0)
        ledger.quarantine(Key('hip', f'{number}-{n}'), 'hung')
        ledger.mark(KEY, 'decode').clear()
    print(*ledger.notes, end='')
"""


def test_what_many_processes_write_at_once_adds_up_and_nothing_is_lost(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    children = [start(ADDS, folder, str(number), "15") for number in range(6)]
    with (folder / "state.db.lock").open("w") as lock:  # until all of them miss the database
        fcntl.flock(lock, fcntl.LOCK_SH)
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
            child.stdout.readline()
        time.sleep(0.2)
    assert [finish(child) for child in children] == [""] * 6
    with Ledger.open(folder) as ledger:
        assert ledger.paces("dev", "hip") == {("decode", 0): [90.0] * BINS}
        devices = {one.quarantine.key.device for one in ledger.quarantines({})}
        assert devices == {f"{number}-{n}" for number in range(6) for n in range(15)}
        assert ledger.recover() == []
        assert ledger.notes == ()
    whole(folder)


WRITES_FOR_EVER = """
ledger = Ledger.open(folder)
print('begun', flush=True)
n = 0
while True:
    marker = ledger.mark(KEY, 'decode')
    ledger.quarantine(Key('hip', str(n)), 'hung', 'decode')
    ledger.add_paces('dev', 'hip', {('decode', 0): [1.0] * BINS})
    ledger.probed(KEY, True, 'x' * 3000)
    ledger.clear('hip')
    marker.clear()
    n += 1
"""


def test_killed_at_any_moment_it_leaves_a_whole_database_and_accuses_nobody(tmp_path):
    """Sixty kills, from the interpreter's start on to far into the writing."""
    chance = random.Random(5)
    folder = tmp_path / "state"
    markers = 0
    for round_ in range(60):
        child = start(WRITES_FOR_EVER, folder)
        if round_ % 4:
            child.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        killed(child)
        with Ledger.open(folder) as ledger:
            left = ledger.recover()
            markers += len(left)
            assert [one.quarantine for one in left] in ([], [None])
            assert ledger.recover() == []
            assert ledger.notes == ()
            assert len(ledger.quarantines({})) <= 1
            ledger.clear("all")
        if not round_ % 10:
            whole(folder)
    whole(folder)
    assert markers > 5  # it was killed in the middle of things, not beside them
    assert not list(folder.glob("*.damaged*"))


def test_killed_between_begin_and_commit_it_leaves_nothing_of_the_transaction(tmp_path):
    """SIGKILL comes from the process's own clock, inside the transaction."""
    folder = tmp_path / "state"
    with Ledger.open(folder) as ledger:
        ledger.quarantine(KEY, "before")
    child = start(
        "import os, sqlite3\n"
        "from forge.state.database import Database\n"
        "def work(connection):\n"
        "    connection.execute('DELETE FROM quarantines')\n"
        "    os.kill(os.getpid(), 9)\n"
        "Database(folder).write(work, None, durable=True)\n",
        folder,
    )
    finish(child)
    assert child.returncode == -signal.SIGKILL
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(KEY).reason == "before"
        assert ledger.quarantine(KEY, "after").reason == "after"
        assert ledger.notes == ()


MARKS_AND_WAITS = """
ledger = Ledger.open(folder)
marker = ledger.mark(KEY, 'load')
marker.phase('decode')
print('marked', flush=True)
sys.stdin.readline()
marker.clear()
"""


RECOVERS = """
boot = sys.argv[1] if sys.argv[1:] else ''
machine = Machine(Path(boot)) if boot else Machine()
sys.stdin.readline()
with Ledger.open(folder, machine) as ledger:
    for one in ledger.recover():
        print(one.phase, 'crashed' if one.quarantine else 'killed')
    print(*ledger.notes, end='')
"""


def test_a_marker_is_on_disk_before_mark_returns(tmp_path):
    """The copy is what a machine that stops here would find again."""
    folder, copy = tmp_path / "state", tmp_path / "copy"
    child = start(MARKS_AND_WAITS, folder)
    assert child.stdout.readline() == "marked\n"
    copy.mkdir()
    for name in ("state.db", "state.db-wal"):
        (copy / name).write_bytes((folder / name).read_bytes())
    with Ledger.open(copy, another_boot(tmp_path)) as ledger:
        [found] = ledger.recover()
        assert found.key == KEY
        assert "the machine went down" in ledger.quarantined(KEY).reason
    finish(child, "\n")
    with Ledger.open(folder, another_boot(tmp_path)) as ledger:
        assert ledger.recover() == []


def another_boot(tmp_path) -> Machine:
    """This machine after a restart: every process it had is gone."""
    proc = tmp_path / "proc"
    (proc / "sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (proc / "sys/kernel/random/boot_id").write_text("another boot\n")
    (proc / "self").mkdir(exist_ok=True)
    (proc / "self/stat").write_text("1 (init) S 1" + " 0" * 20 + "\n")
    return Machine(proc)


def test_a_killed_forge_is_recovered_by_the_next_and_a_living_one_is_not(tmp_path):
    folder = tmp_path / "state"
    living, dying = start(MARKS_AND_WAITS, folder), start(MARKS_AND_WAITS, folder)
    for child in (living, dying):
        assert child.stdout.readline() == "marked\n"
    assert finish(start(RECOVERS, folder), "\n") == ""
    killed(dying)
    assert finish(start(RECOVERS, folder), "\n") == "decode killed\n"
    assert finish(start(RECOVERS, folder), "\n") == ""
    finish(living, "\n")
    with Ledger.open(folder) as ledger:
        assert ledger.recover() == ledger.quarantines({}) == []


@pytest.mark.parametrize("fate", ["killed", "crashed"])
def test_of_processes_that_recover_at_one_time_each_marker_has_one(tmp_path, fate):
    folder = tmp_path / "state"
    dying = [start(MARKS_AND_WAITS, folder) for _ in range(3)]
    for child in dying:
        child.stdout.readline()
        killed(child)
    words = [str(another_boot(tmp_path).proc)] if fate == "crashed" else []
    recovering = [start(RECOVERS, folder, *words) for _ in range(4)]
    for child in recovering:
        child.stdin.write("\n")
        child.stdin.flush()
    found = "".join(finish(child) for child in recovering)
    assert found == f"decode {fate}\n" * 3
    with Ledger.open(folder) as ledger:
        assert len(ledger.quarantines({})) == (fate == "crashed")
