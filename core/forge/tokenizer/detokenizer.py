"""Token ids to text, as they arrive."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Text for one token at a time: never half a character, and none lost.

    A token may end inside a character; its bytes wait for the next one. Bytes that are no UTF-8
    become U+FFFD, in the same places as when all bytes are decoded at once.
    """

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        return self._decoder.decode(self._piece(token))

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never came to its end. Starts anew."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
