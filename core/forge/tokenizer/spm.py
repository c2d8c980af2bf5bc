"""SentencePiece's BPE ("llama" vocabularies: Llama 2, Mistral, Gemma 1-3), as llama.cpp does it.

The text becomes single characters, spaces written as ▁. Of all adjacent pairs that together are a
token, the one with the best score (then the left-most) is merged, until no pair is left. What is
no token by then is spelt in its UTF-8 bytes.
"""

from __future__ import annotations

import re
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from forge.errors import TextError
from forge.tokenizer.vocabulary import TokenType

if TYPE_CHECKING:
    from forge.tokenizer.vocabulary import Vocabulary

SPACE = "▁"  # U+2581 stands for a space in the vocabulary
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
CACHED_WORDS = 1 << 16
CACHED_LENGTH = 64


class SPM:
    """Score-driven merges over one vocabulary; equal to llama.cpp's, id for id."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._path = vocabulary.path
        self._tokens = tokens = as_c_strings(vocabulary.tokens)
        count = len(tokens)
        self._types = vocabulary.types
        # Of two equal tokens the first counts, so the table is filled from the end.
        self._ids = dict(zip(reversed(tokens), range(count - 1, -1, -1), strict=True))
        scores = vocabulary.scores
        # heapq pops the smallest, so costs are negated scores.
        self._costs = [0.0] * count if scores is None else (-scores).tolist()
        self._longest = max(map(len, tokens), default=0)
        self._bytes = [self._byte_id(value) for value in range(256)]
        self._unknown_id = vocabulary.unk_id
        # llama.cpp takes silence of the file for yes.
        self._add_space_prefix = vocabulary.add_space_prefix is not False
        self._word_starts = _word_starts(tokens)
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str, *, prefix_space: bool) -> list[int]:
        """The ids of `text`, which holds no special tokens.

        `prefix_space` says that the text comes first or after a special token; whether it then
        gets a space before it is the vocabulary's decision. An empty text has no ids.
        """
        if not text:
            return []
        if prefix_space and self._add_space_prefix:
            text = " " + text
        ids: list[int] = []
        cache = self._cache
        for word in self._word_starts.split(text.replace(" ", SPACE)):
            found = cache.get(word)
            if found is None:
                found = tuple(self._merge(word)) if word else ()
                if len(word) <= CACHED_LENGTH:
                    if len(cache) >= CACHED_WORDS:
                        cache.clear()
                    cache[word] = found
            ids.extend(found)
        return ids

    def piece(self, token: int) -> bytes:
        """The bytes that `token` stands for in output."""
        return piece_bytes(self._tokens[token], None if self._types is None else self._types[token])

    def _merge(self, word: str) -> list[int]:
        """The ids of one word: a linked list of spans, merged in the order of a heap."""
        size = len(word)
        ids, costs, longest = self._ids, self._costs, self._longest
        end = list(range(1, size + 1))  # a span is named by its first character; 0: merged away
        before = list(range(-1, size - 1))
        heap = [
            (costs[token], left, left + 1, left + 2)
            for left in range(size - 1)
            if (token := ids.get(word[left : left + 2])) is not None
        ]
        heapify(heap)
        while heap:
            _, left, right, stop = heappop(heap)
            if end[left] != right or end[right] != stop:
                continue  # one of the two was merged with another neighbour since
            end[left], end[right] = stop, 0
            if stop < size:
                before[stop] = left
                after = end[stop]
                if after - left <= longest:
                    token = ids.get(word[left:after])
                    if token is not None:
                        heappush(heap, (costs[token], left, stop, after))
            previous = before[left]
            if previous >= 0 and stop - previous <= longest:
                token = ids.get(word[previous:stop])
                if token is not None:
                    heappush(heap, (costs[token], previous, left, stop))
        out: list[int] = []
        at = 0
        unknown = False
        while at < size:
            token = ids.get(word[at : end[at]])
            if token is not None:
                out.append(token)
                unknown = False
            else:
                spelt = [self._bytes[value] for value in word[at].encode()]
                known = [value for value in spelt if value is not None]
                if len(known) == len(spelt):
                    out.extend(known)
                    unknown = False
                elif not unknown:
                    out.append(self._unknown(word[at]))
                    unknown = True
            at = end[at]
        return out

    def _byte_id(self, value: int) -> int | None:
        token = self._ids.get(f"<0x{value:02X}>")
        if token is None:
            token = self._ids.get(bytes([value]).decode("utf-8", "surrogateescape"))
        return token

    def _unknown(self, character: str) -> int:
        """llama.cpp aborts here; SentencePiece writes one unknown token for a run of characters."""
        if self._unknown_id is None:
            raise TextError(
                f"{self._path}: the vocabulary has no token for {character!r}, "
                "no byte tokens and no unknown token."
            )
        return self._unknown_id


def piece_bytes(text: str, kind: int | None) -> bytes:
    """The bytes in output of a token with this text and GGUF token type."""
    if kind == TokenType.BYTE and (match := BYTE_TOKEN.fullmatch(text)):
        return bytes([int(match[1], 16)])
    if kind is None or kind == TokenType.NORMAL:
        text = text.replace(SPACE, " ")
    elif kind in (TokenType.UNUSED, TokenType.UNDEFINED):
        text = ""
    return text.encode("utf-8", "surrogateescape")


def as_c_strings(tokens: list[str]) -> list[str]:
    """The tokens as llama.cpp reads them: they end at a NUL, and an empty one gets a name."""
    if all(tokens) and "\0" not in "".join(tokens):
        return tokens
    return [token.split("\0", 1)[0] or f"[EMPTY_{at}]" for at, token in enumerate(tokens)]


def _word_starts(tokens: list[str]) -> re.Pattern[str]:
    """Matches before each ▁ that no merge can join to the character on its left.

    A merge only ever makes a token, so it joins ▁ to the character before it only if some token
    has the two side by side. Elsewhere the text can be cut: merges on the two sides share no
    character and so never look at each other, and their order within a side stays the same.
    """
    joined = "\0".join(tokens)
    joiners = {part[-1] if part else SPACE for part in joined.split(SPACE)[:-1]} - {"\0"}
    if not joiners:
        return re.compile(f"(?={SPACE})")
    return re.compile(f"(?<![{''.join(map(re.escape, sorted(joiners)))}])(?={SPACE})")
