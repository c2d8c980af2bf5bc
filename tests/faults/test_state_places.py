"""The ledger in folders as bad as they come: forge goes on, and says what it cannot keep."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from forge.state import Ledger

from .state import KEY, PACES, fill, in_vain


def test_a_newer_forges_database_is_left_as_it_is(tmp_path):
    fill(tmp_path)
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA user_version=2")
    connection.execute("DROP TABLE probes")
    connection.commit()
    connection.close()
    before = (tmp_path / "state.db").read_bytes()
    with Ledger.open(tmp_path) as ledger:
        assert ledger.quarantined(KEY) is None
        ledger.quarantine(KEY, "for this run")
        assert ledger.quarantined(KEY).reason == "for this run"
        assert not ledger.kept
        assert "newer forge" in ledger.notes[0]
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.parametrize("gone", ["file", "folder"])
def test_deleted_while_it_is_open_it_is_begun_anew(tmp_path, gone):
    folder = tmp_path / "state"
    with Ledger.open(folder) as ledger:
        ledger.quarantine(KEY, "hung")
        (folder / "state.db").unlink() if gone == "file" else shutil.rmtree(folder)
        assert ledger.quarantined(KEY) is None
        ledger.quarantine(KEY, "anew")
        with Ledger.open(folder) as other:
            assert other.quarantined(KEY).reason == "anew"
        assert ledger.notes == ()


@pytest.mark.parametrize("what", ["file", "pipe", "folder", "dangling link"])
def test_something_else_in_its_place_is_done_without(tmp_path, what):
    folder = tmp_path / "state"
    folder.mkdir()
    place = folder / "state.db"
    if what == "file":
        folder.rmdir()
        folder.write_text("I am a file")
    elif what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "no" / "such")
    with Ledger.open(folder) as ledger:
        ledger.quarantine(KEY, "for this run")
        assert ledger.quarantined(KEY).reason == "for this run"
        ledger.mark(KEY, "load").clear()
        assert ledger.recover() == []
        assert ledger.kept or len(ledger.notes) == 1


def test_a_lock_file_that_is_a_pipe_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "state.db.lock")
    with Ledger.open(tmp_path) as ledger:
        ledger.quarantine(KEY, "hung")
        assert ledger.quarantined(KEY).reason == "hung"


NOBODY = "65534"


@pytest.mark.parametrize("there", [False, True], ids=["empty", "filled"])
def test_a_folder_that_may_only_be_read_is_done_without(there):
    with tempfile.TemporaryDirectory() as parent:  # pytest's own folders are root's alone
        os.chmod(parent, 0o755)
        folder = Path(parent) / "state"
        folder.mkdir()
        if there:
            fill(folder)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        words = [NOBODY] if os.getuid() == 0 else []
        assert in_vain(folder, *words) == ["False", "True", "False", "True"]
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        folder.chmod(0o755)


def limit(most: int) -> None:
    """No file may grow beyond that: what a full disk does, with another error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("most", [0, 1, 5000, 20000, 36864, 40000])
def test_a_disk_that_fills_up_loses_what_was_to_be_written_and_nothing_else(tmp_path, most):
    folder = tmp_path / "state"
    fill(folder)
    in_vain(folder, preexec_fn=lambda: limit(most))
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(KEY).reason == "hung"
        assert ledger.paces("dev", "hip") == PACES
        assert ledger.notes == ()


@pytest.mark.parametrize("most", [0, 1, 5000, 20000, 36864, 40000])
def test_a_disk_that_is_full_from_the_start_is_done_without(tmp_path, most):
    folder = tmp_path / "state"
    assert in_vain(folder, preexec_fn=lambda: limit(most))[:2] == ["False", "True"]
    with Ledger.open(folder) as ledger:  # there is room again
        ledger.quarantine(KEY, "hung")
        assert ledger.kept
        assert ledger.notes == ()


def test_the_files_are_their_owners_alone(tmp_path):
    with Ledger.open(tmp_path / "state") as ledger:
        ledger.quarantine(KEY, "hung")
        for path in (tmp_path / "state", *(tmp_path / "state").iterdir()):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077


ROOM = """
import os
from pathlib import Path
from forge.state import *
KEY = Key('hip', '0000:03:00.0')
disk = Path(sys.argv[1])
for kept_free in range(0, 220, 8):
    ballast = open(disk / 'ballast', 'wb', 0)
    with ballast:
        size = os.statvfs(disk).f_bavail * 4096 - kept_free * 1024
        os.posix_fallocate(ballast.fileno(), 0, max(1, size))
    folder = disk / f'{kept_free}'
    with Ledger.open(folder) as ledger:
        marker = ledger.mark(KEY, 'load')
        ledger.quarantine(KEY, 'hung')
        for _ in range(8):
            ledger.add_paces('dev', 'hip', {('decode', n): [1.0] * BINS for n in range(8)})
        marker.clear()
        full = [note for note in ledger.notes if 'no space left' in note]
        kept = ledger.kept and not full
        assert kept or full, ledger.notes
    (disk / 'ballast').unlink()
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(KEY) if kept else True
        ledger.quarantine(KEY, 'hung again')
        assert ledger.kept and not ledger.notes, ledger.notes
        assert ledger.quarantined(KEY).reason == 'hung again'
    for path in folder.iterdir():
        path.unlink()
    print(kept)
"""


def test_a_real_disk_that_fills_up_at_any_point_is_survived(tmp_path):
    """A small file system of its own, which needs the right to mount one."""
    mount = f"mount -t tmpfs -o size=256k none {tmp_path}"
    unshare = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else []), "sh", "-c"]
    try:
        subprocess.run([*unshare, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    program = [sys.executable, "-P", "-W", "error", "-c", "import sys\n" + ROOM, str(tmp_path)]
    done = subprocess.run(
        [*unshare, f'{mount} && exec "$@"', "sh", *program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"True", "False"}
