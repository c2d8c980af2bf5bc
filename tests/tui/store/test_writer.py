"""A reply reaches the disk while it is written, and a kill takes little of it."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from forge import UsageError
from forge_tui.store import HistoryError, Store

SCRIPT = Path(__file__).parents[3] / "scripts/kill_conversations.py"


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_another_program_sees_a_reply_grow(store, talk, opened):
    other, number = opened(), talk.conversation.id
    writer = store.start_reply(number, talk.question.id)
    assert other.messages(number)[-1].state == "streaming"
    for text in ("One ", "two ", "three"):
        writer.append(text, 2)
        eventually(lambda text=text: other.messages(number)[-1].text.endswith(text))
    assert (other.messages(number)[-1].text, other.messages(number)[-1].tokens) == (
        *("One two three", 6),
    )
    done = writer.finish("stopped", {"why": "esc"}, backend="vulkan")
    assert done == other.messages(number)[-1]
    assert (done.state, done.backend, done.meta) == ("stopped", "vulkan", {"why": "esc"})
    with pytest.raises(UsageError, match="finished"):
        writer.append("more")


def test_opening_the_file_leaves_a_reply_alone_whose_program_lives(store, talk, opened):
    writer = store.start_reply(talk.conversation.id, talk.question.id)
    writer.append("One ")
    assert opened().messages(talk.conversation.id)[-1].state == "streaming"
    writer.append("two")
    assert writer.finish().text == "One two"


def test_closing_the_store_saves_what_was_being_written(store, talk, opened):
    writer = store.start_reply(talk.conversation.id, talk.question.id)
    writer.append("Not the last word")
    store.close()
    found = opened().messages(talk.conversation.id)[-1]
    assert (found.text, found.state) == ("Not the last word", "stopped")
    assert found.meta == {"interrupted": True}


def test_a_reply_that_could_not_be_saved_is_tried_again(talk, path, opened):
    store = opened(busy_seconds=0.1)
    writer = store.start_reply(talk.conversation.id, talk.question.id)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer.append("Through ", 1)
        eventually(lambda: bool(writer.trouble))
        assert "another program keeps it locked" in writer.trouble
        writer.append("thick", 1)
        other.execute("ROLLBACK")
    eventually(lambda: not writer.trouble)
    done = writer.finish()
    assert (done.text, done.tokens) == ("Through thick", 2)


def test_a_reply_in_a_conversation_that_is_erased_says_so(store, talk, opened):
    writer = store.start_reply(talk.conversation.id, talk.question.id)
    with opened() as other:
        other.delete(talk.conversation.id)
    writer.append("into the void")
    with pytest.raises(HistoryError, match="its conversation was deleted"):
        writer.finish()


@pytest.fixture(scope="module")
def killing() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("kill_conversations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look there
        spec.loader.exec_module(module)
        yield module


def test_killed_programs_leave_every_reply_whole_up_to_the_last_batch(killing, path):
    found = list(killing.outcomes(path, kills=3, rate=200.0))
    assert all(0 < each.seen <= each.saved <= each.said + 1 for each in found)
    with Store(path) as store:
        assert len(store.conversations()) == 3


@pytest.mark.parametrize(
    ("text", "tokens", "state"),
    [
        ("0 1 3 ", 3, "stopped"),
        ("0 1 ", 3, "stopped"),
        ("0 ", 1, "stopped"),
        ("0 1 2 ", 3, "complete"),
    ],
)
def test_the_script_finds_gaps_losses_and_replies_left_open(killing, talk, text, tokens, state):
    before = {7: [replace(talk.first, text="0 1 ", tokens=2, state="streaming")]}
    after = {7: [replace(talk.first, text=text, tokens=tokens, state=state)]}
    with pytest.raises(ValueError, match="tokens"):
        killing._compared(7, 9, before, after)
