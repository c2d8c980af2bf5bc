"""What rendering one chat template may cost: steps of work, bytes made, characters in a string.

A template comes with the model and may be hostile. It is bounded by counting, not by a clock, a
thread or a signal: the same template fails in the same place on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

MAX_STEPS = 10_000_000  # about a microsecond for ten; the longest real chats need a tenth
MAX_BYTES = 256 << 20  # made in all, freed or not
MAX_TEXT = 8_000_000  # characters in one string, and in the output
MAX_SOURCE = 256 << 10  # characters; the longest known chat templates have 60,000
MAX_NODES = 50_000  # of the syntax tree: jinja2 and Python take 20 µs and 5 KB to compile each
BYTES_PER_CHARACTER = 4  # at most; Python takes 1 or 2 where that is enough
OBJECT_BYTES = 64  # a small string or number, or a list's entry with what it points to

CHARACTERS_PER_STEP = 32  # searched, copied or compared in C
STEPS_PER_PART = 8  # of a list or dictionary that is gone through in Python
SLOW_CHARACTERS_PER_STEP = 2  # handled one by one in Python


class LimitExceeded(Exception):
    """The template needs more than it may have; the message says of what."""


class Budget:
    """What is left to one rendering."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.bytes = MAX_BYTES

    def spend(self, steps: int, made: int = 0) -> None:
        """Take steps of work, and bytes that are about to be made."""
        self.steps -= steps
        self.bytes -= made
        if self.steps < 0:
            raise LimitExceeded(f"it takes more than {MAX_STEPS} steps")
        if self.bytes < 0:
            raise LimitExceeded(f"it makes more than {MAX_BYTES >> 20} MB of text and lists")

    def text(self, characters: int) -> None:
        """Allow for a string of so many characters."""
        if characters > MAX_TEXT:
            raise LimitExceeded(f"it makes a text of more than {MAX_TEXT} characters")
        self.spend(characters // CHARACTERS_PER_STEP, BYTES_PER_CHARACTER * characters)

    def made(self, value: Any) -> Any:
        """Charge what a filter or a method returned, and pass it on."""
        if isinstance(value, str | list | tuple | dict | set):
            steps = len(value) // CHARACTERS_PER_STEP if isinstance(value, str) else len(value)
            self.spend(steps, sys.getsizeof(value))
            if isinstance(value, str) and len(value) > MAX_TEXT:
                self.text(len(value))
        return value

    def touch(self, value: Any) -> int:
        """Charge for going over `value` once, not into what it holds; its length."""
        if isinstance(value, str):
            self.spend(1 + len(value) // CHARACTERS_PER_STEP)
            return len(value)
        try:
            size = len(value)
        except (TypeError, ValueError):
            size = 1
        self.spend(size)
        return size

    def weigh(self, value: Any, rate: int = CHARACTERS_PER_STEP) -> int:
        """Charge for reading all that `value` holds; about how many characters it prints as.

        A list that holds another twice counts it twice, as printing and comparing do.
        """
        if type(value) is str:
            self.spend(1 + len(value) // rate)
            return len(value)
        characters = nodes = 0
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                characters += len(item)
                continue
            parts = _parts(item)
            if parts is None:
                characters += 16
                continue
            nodes += 2 + len(parts)
            if nodes * STEPS_PER_PART > self.steps:
                raise LimitExceeded(f"it takes more than {MAX_STEPS} steps")
            stack.extend(parts)
        self.spend(1 + nodes * STEPS_PER_PART + characters // rate)
        return characters + 4 * nodes


def _parts(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | range):
        return list(value)
    if type(value) in (type({}.items()), type({}.keys()), type({}.values())):
        return list(value)
    if type(value).__name__ == "Namespace":  # jinja2's; it prints what it holds
        return list(object.__getattribute__(value, "_Namespace__attrs").values())
    return None


_current: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def budgeted() -> Iterator[Budget]:
    """A fresh budget for what runs inside."""
    budget = Budget()
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)


def budget() -> Budget:
    """The budget in force. While a template compiles there is none: nothing may be computed."""
    found = _current.get(None)
    if found is None:
        raise LimitExceeded("not while it compiles")
    return found
