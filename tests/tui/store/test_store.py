"""Conversations are kept, found, branched, renamed, deleted and brought back."""

from __future__ import annotations

import json
import stat
import threading

import pytest

from forge import UsageError
from forge_tui.store import HistoryError, Store


def test_what_was_said_is_there_after_the_store_is_opened_again(store, talk, opened):
    store.close()
    again = opened()
    [found] = again.conversations()
    assert (found.title, found.model, found.system) == (
        *("Why is the sky blue?", "smollm2", "Be brief."),
    )
    assert found.params == {"temperature": 0.5}
    assert found.messages == 3
    asked, answered = again.messages(found.id)
    assert (asked.role, asked.text, asked.tokens) == ("user", "Why is the sky blue?", 6)
    assert (answered.text, answered.tokens) == ("Rayleigh scattering. ", 2)
    assert (answered.state, answered.backend) == ("complete", "cpu")
    assert answered.meta == {"finish_reason": "stop"}


def test_regenerating_keeps_the_old_answer_beside_the_new_one(store, talk):
    number = talk.conversation.id
    assert [m.id for m in store.siblings(talk.second.id)] == [talk.first.id, talk.second.id]
    assert [m.id for m in store.messages(number)] == [talk.question.id, talk.second.id]
    shown = store.select(number, talk.first.id)
    assert [m.id for m in shown] == [talk.question.id, talk.first.id]
    assert store.messages(number) == shown
    assert store.messages(number, talk.second.id)[-1].text == "Rayleigh scattering. "


def test_selecting_a_branch_goes_to_its_newest_message(store, talk):
    number = talk.conversation.id
    more = store.add(number, talk.first.id, "user", "And at dusk?")
    edited = store.add(number, None, "user", "Why is the sea blue?")
    assert [m.id for m in store.messages(number)] == [edited.id]
    assert [m.id for m in store.siblings(edited.id)] == [talk.question.id, edited.id]
    path = [talk.question.id, talk.first.id, more.id]
    assert [m.id for m in store.select(number, talk.question.id)] == path


def test_a_fork_has_copies_that_go_their_own_way(store, talk):
    fork = store.fork(talk.conversation.id, talk.first.id)
    assert fork.title == "Why is the sky blue? (fork)"
    assert (fork.model, fork.params) == ("smollm2", {"temperature": 0.5})
    asked, answered = store.messages(fork.id)
    assert answered.text == talk.first.text
    assert (answered.meta, answered.backend) == (talk.first.meta, "cpu")
    store.add(fork.id, answered.id, "user", "More.")
    assert len(store.messages(talk.conversation.id)) == 2
    store.delete(talk.conversation.id)
    assert len(store.messages(fork.id)) == 3
    assert asked.id != talk.question.id


def test_the_list_has_what_was_used_last_first(store, talk):
    second = store.create()
    assert [c.id for c in store.conversations()] == [second.id, talk.conversation.id]
    store.add(talk.conversation.id, talk.second.id, "user", "Go on.")
    assert [c.id for c in store.conversations()] == [talk.conversation.id, second.id]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rayleigh", True),
        ("SKY scattering", True),
        ("smollm2 brief", False),
        ("smollm2 air", True),
        ("ÉTÉ", False),
        ("100%", False),
        ("sky_", False),
        ("", True),
    ],
)
def test_a_search_finds_conversations_that_have_every_word(store, talk, words, found):
    store.create("other")
    there = [c.id for c in store.conversations(words)]
    assert (talk.conversation.id in there) is found


def test_a_search_knows_upper_and_lower_case_of_every_script(store):
    talk = store.create()
    store.add(talk.id, None, "user", "Où est l'été, στη Θάλασσα?")
    assert [c.id for c in store.conversations("ÉTÉ θάλασσα")] == [talk.id]


def test_a_title_is_one_line_and_not_overwritten_by_what_is_said_later(store):
    talk = store.create()
    store.add(talk.id, None, "user", "\n  A long\x1b[31m question " + "about everything " * 10)
    title = store.conversation(talk.id).title
    assert len(title) <= 60
    assert title.startswith("A long [31m question about")
    assert title.endswith("…")
    assert store.rename(talk.id, " Sky\nand sea ").title == "Sky and sea"
    store.add(talk.id, None, "user", "Something else")
    assert store.conversation(talk.id).title == "Sky and sea"


def test_settings_change_one_by_one(store, talk):
    changed = store.configure(talk.conversation.id, model="qwen", params={"top_k": 3})
    assert (changed.model, changed.system, changed.params) == ("qwen", "Be brief.", {"top_k": 3})


def test_a_deletion_can_be_taken_back_until_the_store_is_closed(store, talk, opened, path):
    number = talk.conversation.id
    undo = store.delete(number)
    assert undo.title == "Why is the sky blue?"
    assert store.conversations() == store.conversations("sky") == []
    with pytest.raises(HistoryError, match="was deleted"):
        store.add(number, None, "user", "still there?")
    assert store.undelete(undo).messages == 3
    assert len(store.messages(number)) == 2
    store.delete(number)
    store.close()
    assert opened().conversations() == []
    assert b"Rayleigh" not in path.read_bytes()


def test_what_a_killed_program_deleted_can_come_back_for_an_hour(opened, talk, clock):
    other = opened()
    undo = other.delete(talk.conversation.id)  # `other` is not closed: it was killed
    clock.now += 3000
    assert opened().undelete(undo).id == talk.conversation.id
    undo = other.delete(talk.conversation.id)
    clock.now += 3700
    with pytest.raises(HistoryError, match="was deleted"):
        opened().undelete(undo)


def test_markdown_has_the_branch_that_is_read(store, talk):
    store.select(talk.conversation.id, talk.first.id)
    text = store.export(talk.conversation.id, "markdown")
    assert text.startswith("# Why is the sky blue?\n\n*2023-11-1")
    assert "*smollm2*" in text
    after = ["## System", "Be brief.", "## You", "Why is", "## Assistant (cpu)", "Because of"]
    places = [text.index(part, 25) for part in after]
    assert places == sorted(places)
    assert "Rayleigh" not in text


def test_json_has_every_branch(store, talk):
    found = json.loads(store.export(talk.conversation.id, "json"))
    assert (found["format"], found["version"]) == ("forge-conversation", 1)
    assert found["current"] == [talk.question.id, talk.second.id]
    texts = [message["text"] for message in found["messages"]]
    assert texts == ["Why is the sky blue?", "Because of the air. ", "Rayleigh scattering. "]
    assert found["params"] == {"temperature": 0.5}


def test_another_format_is_refused(store, talk):
    with pytest.raises(UsageError, match="markdown or json"):
        store.export(talk.conversation.id, "docx")


def test_strange_characters_survive(store):
    talk = store.create(system="\udcff?")
    said = store.add(talk.id, None, "user", "nul \x00, emoji 🜂, half \ud83d a pair")
    assert said.text == "nul \x00, emoji 🜂, half ? a pair"
    assert store.messages(talk.id) == [said]


def test_a_message_has_to_belong_to_its_conversation(store, talk):
    other = store.create()
    for attempt in (
        lambda: store.add(other.id, talk.first.id, "user", "?"),
        lambda: store.start_reply(other.id, talk.first.id),
        lambda: store.select(other.id, talk.first.id),
        lambda: store.fork(other.id, talk.first.id),
        lambda: store.siblings(999),
    ):
        with pytest.raises(HistoryError, match="there is no message"):
            attempt()
    assert store.messages(other.id, talk.first.id) == []
    with pytest.raises(HistoryError, match="no conversation 77"):
        store.messages(77)


def test_what_has_no_json_is_refused_before_anything_is_written(store, talk):
    with pytest.raises(HistoryError, match="JSON"):
        store.add(talk.conversation.id, None, "user", "?", meta={"when": object()})
    assert store.conversation(talk.conversation.id).messages == 3


def test_several_threads_and_programs_write_at_once(store, talk, opened):
    stores, failures = [store, opened()], []

    def add(which: int) -> None:
        try:
            for number in range(10):
                stores[which % 2].add(talk.conversation.id, None, "user", f"{which}/{number}")
        except HistoryError as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.conversation(talk.conversation.id).messages == 43


def test_the_file_is_for_its_owner_alone(store, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_closed_store_says_so(path):
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(HistoryError, match="is closed"):
        store.conversations()
