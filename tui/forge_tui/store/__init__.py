"""Every conversation, saved as it grows: one SQLite file in the state folder.

with Store(state_folder() / "conversations.db") as store:
    talk = store.create("smollm2", "You are brief.", {"temperature": 0.7})
    asked = store.add(talk.id, None, "user", "Why is the sky blue?")
    writer = store.start_reply(talk.id, asked.id)
    writer.append("Because", 1)  # returns at once; on disk a quarter of a second later
    writer.finish("complete", {"finish_reason": "stop"})
"""

from __future__ import annotations

from forge_tui.store.records import Conversation, HistoryError, Message, State, Undo
from forge_tui.store.store import Store
from forge_tui.store.writer import Writer

__all__ = ["Conversation", "HistoryError", "Message", "State", "Store", "Undo", "Writer"]
