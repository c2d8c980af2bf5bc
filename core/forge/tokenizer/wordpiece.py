"""WordPiece ("bert" vocabularies), as llama.cpp does it: llm_tokenizer_wpm in llama-vocab.cpp.

Text is normalised and cut into words at spaces, punctuation and ideographs; each word, with a ▁
before it, is spelt in the longest tokens that fit from the left, or is unknown as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import category, normalize

from forge.errors import TextError
from forge.tokenizer.spm import CACHED_LENGTH, CACHED_WORDS, SPACE, as_c_strings, piece_bytes

if TYPE_CHECKING:
    from forge.tokenizer.vocabulary import Vocabulary

WORD_START = SPACE.encode()

# As in BERT's reference code, with the slip of Hugging Face's copy that llama.cpp keeps (2B920).
IDEOGRAPHS = (
    range(0x4E00, 0xA000),
    range(0x3400, 0x4DC0),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820),
    range(0x2B920, 0x2CEB0),
    range(0xF900, 0xFB00),
    range(0x2F800, 0x2FA20),
)
# llama.cpp's tables are of Unicode 15.1, Python 3.11's of 14.0: what came between.
NEW_MARKS = (
    *(range(0xCF3, 0xCF4), range(0xECE, 0xECF), range(0x10EFD, 0x10F00), range(0x11241, 0x11242)),
    *(range(0x11F00, 0x11F02), range(0x11F03, 0x11F04), range(0x11F34, 0x11F3B)),
    *(range(0x11F3E, 0x11F43), range(0x13440, 0x13441), range(0x13447, 0x13456)),
    *(range(0x1E08F, 0x1E090), range(0x1E4EC, 0x1E4F0)),
)
NEW_PUNCTUATION = (range(0x11B00, 0x11B0A), range(0x11F43, 0x11F50))
NEW_CONTROLS = (range(0x13439, 0x13440),)


class WordPiece:
    """Longest-match words over one vocabulary; equal to llama.cpp's, id for id."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._path = vocabulary.path
        self._tokens = tokens = as_c_strings(vocabulary.tokens)
        self._types = vocabulary.types
        # Bytes, because a token may hold a part of a character and match there.
        spelt = [token.encode("utf-8", "surrogateescape") for token in tokens]
        count = len(tokens)
        self._ids = dict(zip(reversed(spelt), range(count - 1, -1, -1), strict=True))
        self._lengths = sorted({len(token) for token in spelt}, reverse=True)
        self._unknown_id = vocabulary.unk_id
        lowercase = vocabulary.lowercase is not False
        strip = lowercase if vocabulary.strip_accents is None else vocabulary.strip_accents
        self._normal = _Normal(lowercase, strip)
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str, *, prefix_space: bool) -> list[int]:  # noqa: ARG002  SPM's interface
        """The ids of `text`, which holds no special tokens; every word starts with a ▁ anyway."""
        ids: list[int] = []
        cache = self._cache
        for word in text.translate(self._normal).split(" "):
            if not word:
                continue
            found = cache.get(word)
            if found is None:
                found = tuple(self._spell(word))
                if len(word) <= CACHED_LENGTH:
                    if len(cache) >= CACHED_WORDS:
                        cache.clear()
                    cache[word] = found
            ids.extend(found)
        return ids

    def piece(self, token: int) -> bytes:
        """The bytes that `token` stands for in output."""
        return piece_bytes(self._tokens[token], None if self._types is None else self._types[token])

    def _spell(self, word: str) -> list[int]:
        spelt = WORD_START + word.encode()
        ids: list[int] = []
        at = 0
        while at < len(spelt):
            for length in self._lengths:
                # A slice past the end is a shorter word, which a later length finds as well.
                token = self._ids.get(spelt[at : at + length])
                if token is not None and at + length <= len(spelt):
                    ids.append(token)
                    at += length
                    break
            else:
                return [self._unknown(word)]
        return ids

    def _unknown(self, word: str) -> int:
        if self._unknown_id is None:
            raise TextError(
                f"{self._path}: the vocabulary has no tokens for {word[:40]!r}, "
                "and no unknown token."
            )
        return self._unknown_id


class _Normal(dict[int, str]):
    """What a character becomes: nothing, a space, itself in lower case, or a word of its own.

    A table for str.translate that fills itself.
    """

    def __init__(self, lowercase: bool, strip_accents: bool) -> None:
        super().__init__()
        self._lowercase = lowercase
        self._strip_accents = strip_accents

    def __missing__(self, code: int) -> str:
        result = self[code] = self._of(chr(code))
        return result

    def _of(self, character: str) -> str:
        # llama.cpp keeps the first character of a decomposition only, of Hangul syllables too.
        if self._strip_accents:
            character = normalize("NFD", character)[0]
        code = ord(character)
        if character.isspace() and not 0x1C <= code <= 0x1F:
            return " "
        kind = category(character)
        if code in (0, 0xFFFD) or kind in ("Cc", "Cf", "Co", "Cs") or _within(code, NEW_CONTROLS):
            return ""
        if self._strip_accents and (kind[0] == "M" or _within(code, NEW_MARKS)):
            return ""
        lower = character.lower()[0] if self._lowercase else character
        alone = (
            kind[0] == "P"
            or (kind[0] == "S" and code < 0x7F)
            or _within(code, IDEOGRAPHS)
            or _within(code, NEW_PUNCTUATION)
        )
        return f" {lower} " if alone else lower


def _within(code: int, ranges: tuple[range, ...]) -> bool:
    return any(code in part for part in ranges)
