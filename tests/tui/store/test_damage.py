"""Whatever the file is like, the store opens or says what to do, and keeps what can be read."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from forge_tui.store import HistoryError, Store, schema


def files(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.damaged-*"))


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\x00", b"\x00" * 5000, b"not a database"]
)
def test_a_file_that_is_none_is_set_aside(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with Store(path) as store:
        assert store.create().id == 1
        assert bool(store.notes) == bool(content)
    assert [file.read_bytes() for file in files(path)] == ([content] if content else [])


def test_somebody_elses_database_is_set_aside(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name)")
    with Store(path) as store:
        assert "no conversations of forge" in store.notes[0]
    assert len(files(path)) == 1


def test_what_can_be_read_of_a_damaged_file_is_kept(path):
    with Store(path) as store:
        for number in range(40):
            talk = store.create()
            store.add(talk.id, None, "user", f"question {number} " + "x" * 2000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xaa" * 4096
    path.write_bytes(data)
    with Store(path) as store:
        assert "was damaged" in store.notes[0]
        kept = {m.text.split()[1] for c in store.conversations() for m in store.messages(c.id)}
        assert len(kept) >= 30
        assert {"0", "39"} <= kept
        store.add(store.create().id, None, "user", "it goes on")
    with Store(path) as store:
        assert not store.notes
    assert files(path)[0].read_bytes()[: len(data)] == bytes(data)


def test_a_file_cut_short_is_set_aside_and_read_as_far_as_it_goes(path):
    with Store(path) as store:
        talk = store.create()
        for number in range(60):
            store.add(talk.id, None, "user", f"{number} " + "y" * 3000)
    path.write_bytes(path.read_bytes()[:-20000])
    with Store(path) as store:
        assert store.notes
        assert sum(c.messages for c in store.conversations()) >= 20


def test_whatever_happened_to_the_bytes_the_store_opens_and_goes_on(tmp_path):
    with Store(tmp_path / "good.db") as store:
        for number in range(5):
            talk, parent = store.create("m", "s", {"a": number}), None
            for text in range(8):
                parent = store.add(talk.id, parent, "user", f"{number} {text} " + "z" * 400).id
    good = (tmp_path / "good.db").read_bytes()
    for seed in range(15):
        moments, data = random.Random(f"seed {seed}"), bytearray(good)
        place = moments.randrange(100, len(data)) if seed % 4 else moments.randrange(50)
        match seed % 3:
            case 0:
                data[place : place + 40] = moments.randbytes(40)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = moments.randbytes(moments.randrange(5000))
        path = tmp_path / str(seed) / "conversations.db"
        path.parent.mkdir()
        path.write_bytes(data)
        with Store(path) as store:
            for found in store.conversations():
                store.messages(found.id)
                store.export(found.id, "json")
            store.conversations("words")
            store.add(store.create().id, None, "user", "it goes on")


def test_rows_around_a_lost_page_are_kept(path):
    with Store(path) as store:
        talk = store.create()
        for number in range(300):
            store.add(talk.id, None, "user", f"question {number} " + "x" * 300)
    data = bytearray(path.read_bytes())
    for page in (10, 20):
        data[page * 4096 : (page + 1) * 4096] = b"\xaa" * 4096
    path.write_bytes(data)
    with Store(path) as store:
        [found] = store.conversations()
        assert found.messages >= 270


def test_a_newer_forges_file_is_left_alone(path):
    with Store(path):
        pass
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version=99")
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="upgrade forge"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_file_is_brought_up_to_date_or_left_as_it_was(path):
    with Store(path) as store:
        store.create("old")
    step = ("ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            schema.migrate(db, (*schema.STEPS, (*step, "CREATE NONSENSE")))
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        schema.migrate(db, (*schema.STEPS, step))
        assert db.execute("SELECT model, pinned FROM conversations").fetchall() == [("old", 0)]
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_rows_that_somebody_edited_are_read_leniently(path):
    with Store(path) as store:
        talk = store.create("m", "s", {"a": 1})
        first = store.add(talk.id, None, "user", "one")
        store.add(talk.id, first.id, "assistant", "two")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        db.execute("UPDATE conversations SET params = '{', title = X'ff41', updated = 'late'")
        db.execute("UPDATE messages SET meta = '[1]', state = 'odd', tokens = 'many', parent = id")
    with Store(path) as store:
        [found] = store.conversations("")
        assert (found.params, found.title, found.updated) == ({}, "\ufffdA", 0.0)
        [message] = store.messages(found.id)
        assert (message.meta, message.state, message.tokens) == ({}, "stopped", 0)


def test_a_folder_in_the_files_place_is_an_error_that_says_so(path):
    path.mkdir(parents=True)
    with pytest.raises(HistoryError, match=str(path)):
        Store(path)


def test_a_file_in_the_folders_place_is_an_error_that_says_so(path):
    path.parent.write_text("in the way")
    with pytest.raises(HistoryError, match=str(path)):
        Store(path)
