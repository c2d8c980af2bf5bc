"""What is said, what waits, and what the model gets to see of it; nothing of the screen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from forge_tui.tree import Node, Tree


@dataclass
class Talk:
    """Owns one conversation while it is on the screen.

    `system` is its system prompt, `sampling` what was chosen of SamplingParams, and `summary` what
    stands for the first `unseen` messages of the branch, which the model no longer gets.
    """

    system: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None
    tree: Tree = field(default_factory=Tree)
    waiting: list[str] = field(default_factory=list)
    unseen: int = 0
    summary: str = ""
    reply: Node | None = None
    request: int = 0
    used: int = 0
    """Tokens of the context that are taken, as far as is known."""
    began: float = 0.0

    @property
    def messages(self) -> list[dict[str, str]]:
        """What the model gets: the system prompt, and the branch as far as it fits."""
        system = self.system
        if self.summary:
            earlier = f"Summary of the conversation so far:\n{self.summary}"
            system = f"{system}\n\n{earlier}" if system else earlier
        found = [{"role": "system", "content": system}] if system else []
        path = [node for node in self.tree.path() if node is not self.reply]
        return found + [{"role": node.role, "content": node.text} for node in path[self.unseen :]]

    def say(self, text: str) -> Node:
        """A message of the person, at the end of the branch."""
        return self.tree.add("user", text, self.tree.leaf)

    def begin(self, asked: Node) -> Node:
        """The reply to a message, which grows from now on."""
        self.reply = self.tree.add("assistant", "", asked, "streaming")
        self.began = time.monotonic()
        return self.reply

    def end(self, state: Any) -> Node | None:
        """The reply is over; one that never began is gone. What is left of it."""
        reply, self.reply, self.request = self.reply, None, 0
        if reply is None:
            return None
        reply.state = state
        if not reply.text:
            self.tree.remove(reply)
            return None
        return reply

    def drop_oldest(self, share: float = 0.5) -> int:
        """Leave out the oldest turns, at least one of them; how many messages that are."""
        path = [node for node in self.tree.path() if node is not self.reply]
        seen = path[self.unseen :]
        place = max(1, round(len(seen) * share))
        while place < len(seen) and seen[place].role != "user":
            place += 1
        place = min(place, max(0, len(seen) - 1))
        self.unseen += place
        return place
