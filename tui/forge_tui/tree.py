"""A conversation as a tree: answering again, or editing, keeps what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "assistant"]
State = Literal["complete", "stopped", "streaming", "failed"]


@dataclass(slots=True, eq=False)
class Node:
    """A message. `key` is its number on the screen, `stored` its id in the store once it has one.

    `unread`: what follows it is in the store only. `meta` is what else is worth keeping: fallbacks,
    pace, why it ended.
    """

    key: int
    role: Role
    text: str
    parent: Node | None = None
    state: State = "complete"
    backend: str = ""
    tokens: int = 0
    meta: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    stored: int | None = None
    unread: bool = False


class Tree:
    """Owns the messages and which branch is looked at."""

    def __init__(self) -> None:
        self.roots: list[Node] = []
        self.leaf: Node | None = None
        self._count = 0

    def add(self, role: Role, text: str, parent: Node | None, state: State = "complete") -> Node:
        """A message after `parent`, or at the beginning: there the branch ends now."""
        self._count += 1
        node = Node(self._count, role, text, parent, state)
        self.siblings(node).append(node)
        self.leaf = node
        return node

    def siblings(self, node: Node) -> list[Node]:
        """The branches that begin where this message does, itself among them."""
        return node.parent.children if node.parent else self.roots

    def remove(self, node: Node) -> None:
        """Take away a message without children."""
        self.siblings(node).remove(node)
        if self.leaf is node:
            self.leaf = node.parent

    def path(self) -> list[Node]:
        """The branch that is looked at, from the beginning."""
        found = []
        node = self.leaf
        while node:
            found.append(node)
            node = node.parent
        return found[::-1]

    def find(self, key: int) -> Node | None:
        """The message of that number."""
        return next((node for node in self._all(self.roots) if node.key == key), None)

    def _all(self, nodes: list[Node]) -> Iterator[Node]:
        left = list(nodes)
        while left:
            node = left.pop()
            yield node
            left += node.children

    def turn(self, node: Node, step: int) -> Node:
        """Look at the branch beside a message; the message that begins it."""
        branches = self.siblings(node)
        other = branches[(branches.index(node) + step) % len(branches)]
        self.leaf = other
        while self.leaf.children:
            self.leaf = self.leaf.children[-1]
        return other
