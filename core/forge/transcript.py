"""The text of a conversation with the very tokens that the model read and wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from forge.tokenizer import Tokenizer


class Transcript:
    """Owns the text, its ids, and the places where both are known to end together.

    Tokenizing a reply's text again may give other ids than the model chose, and their place in the
    cache would be lost: only what comes after the last place that a new text shares is tokenized.
    """

    def __init__(self) -> None:
        self._text = ""
        self._ids: list[int] = []
        self._marks: list[tuple[int, int]] = [(0, 0)]  # characters, ids

    def encode(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """The ids of `text`, which may go on from any place of the transcript."""
        characters, ids = self._shared(text)[-1]
        return [*self._ids[:ids], *tokenizer.encode(text[characters:], special=True)]

    def write(self, prompt: str, prompt_ids: list[int], reply: str, reply_ids: list[int]) -> None:
        """Note a prompt and the reply to it; what the transcript had beyond the prompt is gone."""
        self._marks = self._shared(prompt)
        self._text = prompt + reply
        self._ids = [*prompt_ids, *reply_ids]
        self._marks += [(len(prompt), len(prompt_ids)), (len(self._text), len(self._ids))]

    def _shared(self, text: str) -> list[tuple[int, int]]:
        """The places up to which `text` is the same; the first of them is the beginning."""
        return [mark for mark in self._marks if text.startswith(self._text[: mark[0]])]

    def copy(self) -> Self:
        """The same, to go on differently."""
        other = type(self)()
        other._text, other._ids, other._marks = self._text, [*self._ids], [*self._marks]
        return other
