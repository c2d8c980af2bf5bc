"""The ledger on a damaged file: what it believes is true, or nothing."""

from __future__ import annotations

import random
import shutil
import sqlite3

import pytest

from forge.state import Key, Ledger

from .state import DEVICE, KEY, OTHER, PACES, fill


def use(folder) -> tuple[str, ...]:
    """Do everything with a ledger that may be damaged; what it believes is true or nothing."""
    with Ledger.open(folder) as ledger:
        found = ledger.quarantined(KEY)
        assert found is None or (found.reason, found.key) == ("hung", KEY)
        assert ledger.recover() == []  # this process set the marker and lives
        probe = ledger.last_probe(OTHER)
        assert probe is None or (probe.ok, probe.detail, probe.seconds) == (True, "7 cases", 2.0)
        assert ledger.last_opened("hip", "") in (None, DEVICE)
        assert ledger.paces("dev", "hip").items() <= PACES.items()
        ledger.mark(KEY, "load").clear()
        ledger.quarantine(OTHER, "new", "decode")
        ledger.add_paces("dev", "vulkan", PACES)
        ledger.probed(KEY, True)
        assert ledger.quarantined(OTHER).reason == "new"
        assert ledger.kept
        return ledger.notes


def sound_after(folder) -> None:
    """Whatever was wrong, what was written since is there, and nothing is wrong any more."""
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(OTHER).reason == "new"
        assert ledger.paces("dev", "vulkan") == PACES
        assert ledger.notes == ()
    connection = sqlite3.connect(folder / "state.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A database that has everything in it, written once."""
    folder = tmp_path_factory.mktemp("filled")
    fill(folder)
    return folder


@pytest.fixture
def damaged(filled, tmp_path):
    """A fresh copy, and how to change its bytes."""

    def change(contents) -> object:
        folder = tmp_path / "state"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "state.db").write_bytes(contents((filled / "state.db").read_bytes()))
        return folder

    return change


def test_a_database_that_is_cut_at_any_length_is_replaced_or_was_whole(damaged, filled):
    size = (filled / "state.db").stat().st_size
    lengths = [0, 1, 15, 16, 99, 100, 101, 4095, 4097, size - 1]
    lengths += range(4096, size, 4096)
    for length in lengths:
        folder = damaged(lambda data, length=length: data[:length])
        notes = use(folder)
        assert ("damaged" in notes[0]) if notes else (length == size)
        sound_after(folder)


def test_any_byte_of_the_header_may_be_any_other(damaged):
    chance = random.Random(7)
    for place in range(100):
        new = chance.randrange(1, 256)

        def changed(data, place=place, new=new):
            return data[:place] + bytes([data[place] ^ new]) + data[place + 1 :]

        folder = damaged(changed)
        use_or_future(folder)


def use_or_future(folder) -> None:
    """As `use`; only a version that may be a newer forge's is left alone."""
    with Ledger.open(folder) as ledger:
        ledger.last_probe(KEY)
        future = any("newer" in note for note in ledger.notes)
    if not future:
        use(folder)
        sound_after(folder)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_changed_anywhere_are_found_or_do_not_matter(damaged, seed):
    chance = random.Random(seed)
    for _ in range(60):

        def changed(data):
            data = bytearray(data)
            for _ in range(chance.choice((1, 1, 8))):
                data[chance.randrange(100, len(data))] ^= chance.randrange(1, 256)
            return bytes(data)

        folder = damaged(changed)
        use(folder)
        sound_after(folder)


@pytest.mark.parametrize("kind", ["zeros", "noise", "text", "swapped pages", "another program's"])
def test_what_is_no_database_of_forge_is_moved_aside(damaged, tmp_path, kind):
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE markers (x)")
    connection.commit()
    connection.close()
    contents = {
        "zeros": lambda data: bytes(len(data)),
        "noise": lambda data: random.Random(1).randbytes(len(data)),
        "text": lambda data: b"what is this?\n" * 400,
        "swapped pages": lambda data: data[:4096] + data[8192:12288] + data[4096:8192],
        "another program's": lambda data: other.read_bytes(),
    }[kind]
    folder = damaged(contents)
    before = (folder / "state.db").read_bytes()
    [note] = use(folder)
    assert "state.db.damaged" in note
    assert (folder / "state.db.damaged").read_bytes() == before
    sound_after(folder)


def test_one_generation_of_damage_is_kept(damaged):
    folder = damaged(lambda data: b"first" * 1000)
    use(folder)
    (folder / "state.db").write_bytes(b"second" * 1000)
    use(folder)
    assert (folder / "state.db.damaged").read_bytes() == b"second" * 1000
    sound_after(folder)


def test_damage_that_comes_while_the_file_is_open_is_survived(tmp_path):
    fill(tmp_path)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.quarantined(KEY)
        with sqlite3.connect(tmp_path / "state.db") as other:
            other.execute("UPDATE quarantines SET body = replace(body, 'hip', 'hop')")
        other.close()
        assert ledger.quarantined(KEY) is None
        assert "damaged" in ledger.notes[0]
        ledger.quarantine(KEY, "anew")
        assert ledger.quarantined(KEY).reason == "anew"
        assert ledger.kept


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("what", ["noise", "empty", "folder"])
def test_what_lies_beside_the_database_stops_nothing(damaged, end, what):
    folder = damaged(lambda data: data)
    beside = folder / f"state.db{end}"
    if what == "folder":
        beside.mkdir()
    else:
        beside.write_bytes(random.Random(2).randbytes(40000) if what == "noise" else b"")
    with Ledger.open(folder) as ledger:
        assert ledger.quarantined(KEY) is None or ledger.quarantined(KEY).reason == "hung"
        ledger.quarantine(OTHER, "new")
        assert ledger.quarantined(OTHER).reason == "new"
        assert ledger.kept or ledger.notes


def test_a_log_cut_at_any_length_loses_its_end_and_nothing_else(tmp_path):
    """As after a power cut: what was committed last may be missing, what is there is whole."""
    folder, copy = tmp_path / "state", tmp_path / "copy"
    with Ledger.open(folder) as ledger:
        for number in range(8):
            ledger.quarantine(Key("hip", str(number)), "hung")
        log = (folder / "state.db-wal").read_bytes()
        file = (folder / "state.db").read_bytes()
    assert log
    counts = set()
    for length in [*range(0, len(log), 1371), len(log)]:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        (copy / "state.db").write_bytes(file)
        (copy / "state.db-wal").write_bytes(log[:length])
        with Ledger.open(copy) as ledger:
            found = [int(one.quarantine.key.device) for one in ledger.quarantines({})]
            assert found == list(range(len(found)))
            assert ledger.notes == ()
            counts.add(len(found))
    assert counts == set(range(9))
