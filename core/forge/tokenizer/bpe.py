"""Byte-pair encoding ("gpt2" and "gemma4" vocabularies) on the `tokenizers` library.

Words are cut here, exactly as llama.cpp cuts them (pretokenizers.py); the library merges. It wants
every part and result of a merge, and every character it meets, to be a token. llama.cpp does not,
and spells what is no token in bytes at the end; so whatever is missing gets an id past the
vocabulary's, which encode() replaces.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, cast

import tokenizers
from tokenizers import pre_tokenizers

from forge.errors import GGUFError, UnsupportedModel
from forge.tokenizer.pretokenizers import DEFAULT, RULES, Rules
from forge.tokenizer.vocabulary import TokenType
from forge.tokenizer.words import WordSplitter

if TYPE_CHECKING:
    from forge.tokenizer.vocabulary import Vocabulary

SPACE = "▁"  # U+2581
CACHED_CHARACTERS = 1 << 20
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _alphabet() -> str:
    """GPT-2's character for each byte: itself if it shows, else one from U+0100 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    table = {byte: chr(byte) for byte in shown}
    table |= {byte: chr(256 + at) for at, byte in enumerate(hidden)}
    return "".join(table[byte] for byte in range(256))


ALPHABET = _alphabet()
BYTES = {character: byte for byte, character in enumerate(ALPHABET)}
# Words are joined by a byte that no UTF-8 text has, and split by a character no byte is written as.
JOINER = b"\xff"
JOINED_ALPHABET = ALPHABET[:0xFF] + " "


def rules_for(vocabulary: Vocabulary) -> Rules:
    """The pre-tokenizer's rules; a name that llama.cpp v0.5.0 does not know is an error."""
    name = "gemma4" if vocabulary.model == "gemma4" else vocabulary.pre
    if name is None:
        return DEFAULT
    rules = RULES.get(name)
    if rules is None:
        raise UnsupportedModel(
            f"{vocabulary.path}: unknown pre-tokenizer {name!r} (tokenizer.ggml.pre).\n"
            "A newer forge may know it."
        )
    return rules


class BPE:
    """Rank-driven merges over one vocabulary; equal to llama.cpp's, id for id."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        if vocabulary.merges is None and vocabulary.pre != "kimi-k2":
            raise GGUFError(f"{vocabulary.path}: tokenizer.ggml.merges is missing.")
        self._rules = rules = rules_for(vocabulary)
        self._size = vocabulary.size
        self._tokens = vocabulary.tokens
        self._types = vocabulary.types
        # Of two equal tokens the first counts.
        self._ids = dict(zip(reversed(self._tokens), range(self._size - 1, -1, -1), strict=True))
        self._splitter = WordSplitter(rules.stages, han=rules.han)
        self._missing: dict[int, list[int]] = {}
        self._cache: dict[str, list[int]] = {}
        self._cached = 0
        self._merger = self._build(vocabulary.merges or [])

    def encode(self, text: str, *, prefix_space: bool = False) -> list[int]:  # noqa: ARG002  SPM's
        """The ids of `text`, which holds no special tokens. There is no space prefix in BPE."""
        if not text:
            return []
        if self._rules.escape_spaces:
            text = text.replace(" ", SPACE)
        words = self._splitter.split(text)
        cache = self._cache
        self._learn([word for word in dict.fromkeys(words) if word not in cache])
        ids = list(chain.from_iterable(map(cache.__getitem__, words)))
        if self._cached > CACHED_CHARACTERS:
            cache.clear()
            self._cached = 0
        return ids

    def piece(self, token: int) -> bytes:
        """The bytes that `token` stands for in output."""
        text = self._tokens[token]
        kind = TokenType.NORMAL if self._types is None else self._types[token]
        if kind in (TokenType.UNUSED, TokenType.UNDEFINED):
            return b""
        if kind == TokenType.BYTE and (match := BYTE_TOKEN.fullmatch(text)):
            return bytes([int(match[1], 16)])
        if kind == TokenType.NORMAL:
            if self._rules.escape_spaces:
                text = text.replace(SPACE, " ")
            elif self._rules.byte_level:
                return b"".join(
                    character.encode("utf-8", "surrogateescape")
                    if (byte := BYTES.get(character)) is None
                    else bytes([byte])
                    for character in text
                )
        return text.encode("utf-8", "surrogateescape")

    def _learn(self, words: list[str]) -> None:
        """Add words and their ids to the cache, all in one call of the library if it can be."""
        self._cached += sum(map(len, words))
        if self._rules.byte_level:
            joined = "\udcff".join(words).encode("utf-8", "surrogateescape")
            merged = self._merger.encode(
                codecs.charmap_decode(joined, "strict", JOINED_ALPHABET)[0]
            )
            found: list[list[int]] = [[] for _ in words]
            for token, word in zip(merged.ids, merged.word_ids, strict=True):
                if word is not None:  # as the library's types have it
                    found[word].append(token)
        else:
            found = [self._merger.encode(word).ids for word in words]
        if self._missing:
            found = [[id for token in ids for id in self._spelt(token)] for ids in found]
        self._cache.update(zip(words, found, strict=True))
        if self._rules.newline_words:
            newlines = [word for word in words if word[0] == "\n" and word in self._ids]
            self._cache.update((word, [self._ids[word]]) for word in newlines)

    def _spelt(self, token: int) -> Sequence[int]:
        return self._missing.get(token, (token,)) if token >= self._size else (token,)

    def _build(self, merges: list[str]) -> tokenizers.Tokenizer:
        # Of two equal merges llama.cpp keeps the first, the library the last.
        unique = list(dict.fromkeys(merges))
        ids = dict(self._ids)
        self._add_missing(ids, self._base())
        try:
            split = cast("list[tuple[str, str]]", [tuple(merge.split(" ")) for merge in unique])
            return self._merger_of(ids, split)
        except Exception:  # noqa: BLE001  the library raises nothing narrower
            # Rare: a merge of something that is no token, or that is not two parts, or a token
            # that is not UTF-8. The second part starts after the first space past the first byte.
            pairs = [
                (merge[:at], merge[at + 1 :])
                for merge in unique
                if 0 < (at := merge.find(" ", 1)) < len(merge) - 1 and _is_unicode(merge)
            ]
            self._add_missing(ids, [part for a, b in pairs for part in (a, b, a + b)])
            return self._merger_of({t: i for t, i in ids.items() if _is_unicode(t)}, pairs)

    def _merger_of(self, ids: dict[str, int], pairs: list[tuple[str, str]]) -> tokenizers.Tokenizer:
        model = tokenizers.models.BPE(
            ids,
            pairs,
            ignore_merges=self._rules.ignore_merges,
            byte_fallback=not self._rules.byte_level,
        )
        merger = tokenizers.Tokenizer(model)
        if self._rules.byte_level:
            merger.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(" ")
        return merger

    def _base(self) -> list[str]:
        if self._rules.byte_level:
            return list(ALPHABET)
        return [f"<0x{byte:02X}>" for byte in range(256)]

    def _add_missing(self, ids: dict[str, int], texts: list[str]) -> None:
        for text in texts:
            if text not in ids:
                ids[text] = token = self._size + len(self._missing)
                self._missing[token] = self._spell(text)

    def _spell(self, text: str) -> list[int]:
        """llama.cpp's tokens for a text that is none: one for each byte that has one."""
        if self._rules.byte_level:
            names = [bytes([b]).decode("utf-8", "surrogateescape") for b in text.encode()]
        elif BYTE_TOKEN.fullmatch(text):
            names = []
        else:
            names = [f"<0x{b:02X}>" for b in text.encode()]
        return [self._ids[name] for name in names if name in self._ids]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
