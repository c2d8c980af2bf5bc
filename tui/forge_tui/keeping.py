"""The conversation on the screen and on disk: every word is saved, and one can be gone on with."""

from __future__ import annotations

import asyncio
from typing import Any

from textual import on, work
from textual.message import Message

from forge_tui.archive import Archive, Kept, OpenStore
from forge_tui.engine_thread import Choices, Loaded
from forge_tui.room import Room
from forge_tui.talk import Talk
from forge_tui.tree import Node, Tree


class NotSaved(Message, bubble=False):
    """Something could not be written, or was found damaged."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Keeping(Room):
    """Owns the archive; without one nothing is kept."""

    def __init__(self, talk: Talk, choices: Choices, open_store: OpenStore | None = None) -> None:
        super().__init__(talk, choices)
        self.archive = Archive(open_store, self._not_saved) if open_store else None
        self._counted = 0

    def _not_saved(self, reason: str) -> None:
        self.post_message(NotSaved(reason))

    @on(NotSaved)
    def not_saved(self, message: NotSaved) -> None:
        """Said once each time it happens, and the chat goes on."""
        self.banner.tell(message.reason, message.reason, error=True)

    @property
    def kept_settings(self) -> dict[str, Any]:
        """What a conversation goes on with, besides its model and its system prompt."""
        talk = self.talk
        return {
            "sampling": {**talk.sampling, "logit_bias": {}} if talk.sampling else {},
            "max_tokens": talk.max_tokens,
            "unseen": talk.unseen,
            "summary": talk.summary,
        }

    def reply_began(self, asked: Node, reply: Node) -> None:
        """The person's message is saved before it is answered."""
        del reply
        self._counted = 0
        if self.archive:
            self.archive.said(asked, self.model, self.talk.system, self.kept_settings)

    def reply_grew(self, reply: Node, text: str) -> None:
        """What came since the last look."""
        if self.archive:
            self.archive.grew(reply, text, reply.tokens - self._counted)
            self._counted = reply.tokens

    def reply_ended(self, reply: Node, kept: bool) -> None:
        """How it ended, and its figures."""
        if self.archive and kept:
            self.archive.ended(reply.state, reply.meta, reply.backend)

    def configured(self) -> None:
        """Settings are the conversation's."""
        if self.archive:
            self.archive.configure(self.model, self.talk.system, self.kept_settings)

    def is_loaded(self, loaded: Loaded) -> None:
        """So is the model."""
        super().is_loaded(loaded)
        self.configured()

    def turned(self, node: Node) -> None:
        """Another branch is read, perhaps one that is only on disk so far."""
        if self.archive:
            self.archive.turned(node)
            if node.unread:
                self._read_again()

    @work(exclusive=True, group="read")
    async def _read_again(self) -> None:
        if self.archive and (kept := await asyncio.wrap_future(self.archive.again())):
            self.show_kept(kept)

    @work(exclusive=True, group="read")
    async def resume(self, number: int | None = None) -> None:
        """Go on with a conversation, by default with the latest one."""
        if self.archive is None:
            return
        try:
            if number is None:
                kept = await asyncio.wrap_future(self.archive.latest())
            else:
                kept = await asyncio.wrap_future(self.archive.open(number))
        except Exception as error:  # noqa: BLE001  # a damaged file, or none that can be made
            self.banner.tell(f"the conversation cannot be read: {error}", error=True)
            return
        if kept is None:
            self.remark("there is no earlier conversation")
        else:
            self.stop()
            self.show_kept(kept)

    def show_kept(self, kept: Kept) -> None:
        """A conversation as it was saved, ready to go on."""
        talk, saved = self.talk, kept.conversation
        talk.tree = _tree(kept)
        talk.system = saved.system
        talk.sampling, talk.max_tokens, talk.unseen, talk.summary = _settings(saved.params)
        talk.unseen = min(talk.unseen, max(0, len(kept.messages) - 1))
        talk.used = sum(message.tokens for message in kept.messages)
        self.status.used = talk.used
        self.sub_title = saved.title
        self.show_path()
        self.composer.sent = [each.text for each in kept.messages if each.role == "user"]
        self.composer.focus()


def _settings(params: Any) -> tuple[dict[str, Any], int | None, int, str]:
    """What `kept_settings` gave, read leniently: somebody may have edited the file."""
    from forge import ForgeError, SamplingParams

    sampling = params.get("sampling")
    try:
        SamplingParams.from_dict(sampling or {})
    except (ForgeError, TypeError):
        sampling = {}
    length, unseen, summary = (params.get(name) for name in ("max_tokens", "unseen", "summary"))
    return (
        dict(sampling or {}),
        length if isinstance(length, int) and length > 0 else None,
        unseen if isinstance(unseen, int) and unseen > 0 else 0,
        summary if isinstance(summary, str) else "",
    )


def _tree(kept: Kept) -> Tree:
    tree = Tree()
    parent: Node | None = None
    for message, siblings in zip(kept.messages, kept.siblings, strict=True):
        mine: Node | None = None
        for each in siblings:
            node = tree.add("assistant" if each.role == "assistant" else "user", each.text, parent)
            node.state = "complete" if each.state == "complete" else "stopped"
            node.backend, node.tokens = each.backend, each.tokens
            node.meta, node.stored = dict(each.meta), each.id
            node.unread = each.id != message.id
            if each.id == message.id:
                mine = node
        parent = mine
        tree.leaf = mine
    return tree
