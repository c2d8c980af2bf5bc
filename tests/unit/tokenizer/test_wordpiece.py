"""WordPiece against ids that llama.cpp v0.5.0 gave for the same vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.errors import TextError
from forge.tokenizer.vocabulary import Vocabulary
from forge.tokenizer.wordpiece import WordPiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# As in a GGUF file: ▁ starts a word, and what continues one has lost its ##.
WORDS = (
    "▁hello ▁world ▁un ▁play ing ed able s ▁the ▁naive ▁naïve ▁cafe ▁café ▁Hello ▁STRASSE "
    "▁strasse ▁straße ▁! ▁, ▁. ▁$ ▁€ ▁[ ▁] ▁unk ▁i ▁İ ▁ᄒ ▁한 국 ▁日 ▁本 ▁語 ▁😀 ▁3 1 4 14 "
    "▁x y ▁xy ▁x\u0301 ▁' ▁don ▁t ▁ﬁ ne ▁ελ λη ▁Ελ"
)
TOKENS = [*SPECIAL, *WORDS.split(" ")]


@dataclass(frozen=True)
class MetadataOnly:
    """Stands in for a GGUF file that holds nothing but its metadata."""

    metadata: Mapping[str, Any]
    path: str = "little.gguf"
    tensors: Mapping[str, Any] = field(default_factory=dict)


def make(tokens: Sequence[str] = TOKENS, types: Sequence[int] = (), **keys: Any) -> Vocabulary:
    types = types or [3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL))
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.unknown_token_id": 1,
    }
    metadata |= {f"tokenizer.ggml.normalizer.{key}": value for key, value in keys.items()}
    return Vocabulary.from_gguf(MetadataOnly(metadata))


# text; ids in lower case without accents (the default), then as written.
LLAMA_CPP: list[tuple[str, list[int], list[int]]] = [
    ("", [], []),
    ("hello world", [5, 6], [5, 6]),
    ("Hello, WORLD!", [5, 23, 6, 22], [18, 23, 1, 22]),
    ("unplayable played plays", [1, 8, 10, 8, 12], [1, 8, 10, 8, 12]),
    ("naïve café", [14, 16], [15, 17]),
    ("café", [16], [1]),
    ("STRASSE straße Straße", [20, 21, 21], [19, 21, 1]),
    ("$3.14 €", [25, 39, 24, 1, 26], [25, 39, 24, 1, 26]),
    ("[UNK] [unk]", [27, 29, 28, 27, 29, 28], [27, 1, 28, 27, 29, 28]),
    ("İi", [1], [1]),
    ("한국", [1], [33, 34]),
    ("日本語hello日", [35, 36, 37, 5, 35], [35, 36, 37, 5, 35]),
    ("😀😀 😀", [1, 38], [1, 38]),
    ("  \t\n\u3000 ", [], []),
    ("hello\x00world", [1], [1]),
    ("hello\x85world\u2028the", [5, 6, 13], [5, 6, 13]),
    ("hel\u200dlo", [5], [5]),
    ("a", [1], [1]),
    ("don't", [48, 47, 49], [48, 47, 49]),
    ("ﬁne", [50, 51], [50, 51]),
    ("Ελλη ελλη", [52, 53, 52, 53], [54, 53, 52, 53]),
    ("x́y", [45], [46, 44]),
    ("playing\x1chello", [1], [1]),
    ("!!...", [22, 22, 24, 24, 24], [22, 22, 24, 24, 24]),
    ("�hello\ue000", [5], [5]),
    ("hello\x7f", [5], [5]),
    ("́", [], [1]),
    ("xyyyz", [1], [1]),
]


@pytest.mark.parametrize(("text", "lower", "as_written"), LLAMA_CPP)
def test_the_ids_are_those_of_llama_cpp(text: str, lower: list[int], as_written: list[int]) -> None:
    assert WordPiece(make()).encode(text, prefix_space=True) == lower
    assert WordPiece(make(lowercase=False)).encode(text, prefix_space=True) == as_written


def test_case_and_accents_are_two_switches() -> None:
    only_lower = WordPiece(make(lowercase=True, strip_accents=False))
    only_strip = WordPiece(make(lowercase=False, strip_accents=True))
    ids = {token: at for at, token in enumerate(TOKENS)}
    assert only_lower.encode("CAFÉ", prefix_space=True) == [ids["▁café"]]
    assert only_strip.encode("Hello café", prefix_space=True) == [ids["▁Hello"], ids["▁cafe"]]


def test_what_goes_before_a_text_does_not_matter() -> None:
    wordpiece = WordPiece(make())
    for text in ("hello", " hello"):
        ids = wordpiece.encode(text, prefix_space=False)
        assert ids == wordpiece.encode(text, prefix_space=True) != []


@given(st.text(), st.text())
def test_texts_apart_have_the_ids_they_have_together(one: str, other: str) -> None:
    wordpiece = WordPiece(make())
    ids = wordpiece.encode(f"{one} {other}", prefix_space=True)
    assert ids == [
        token for text in (one, other) for token in wordpiece.encode(text, prefix_space=True)
    ]


def test_a_piece_has_a_space_where_its_word_starts() -> None:
    wordpiece = WordPiece(make())
    ids = wordpiece.encode("hello playing", prefix_space=True)
    assert b"".join(map(wordpiece.piece, ids)) == b" hello playing"
    assert wordpiece.piece(TOKENS.index("[MASK]")) == b"[MASK]"


def test_a_token_may_end_inside_a_character() -> None:
    halves = [*SPECIAL, "▁\udce6", "\udc97\udca5"]
    assert "日".encode() == b"\xe6\x97\xa5"
    assert WordPiece(make(halves)).encode("日", prefix_space=True) == [5, 6]


def test_without_an_unknown_token_the_word_is_named() -> None:
    wordpiece = WordPiece(replace(make(), unk_id=None))
    with pytest.raises(TextError, match=r"^little\.gguf: the vocabulary has no tokens for 'zzz'"):
        wordpiece.encode("hello zzz", prefix_space=True)


def test_a_word_of_many_characters_is_spelt_in_one_go() -> None:
    wordpiece = WordPiece(make())
    ids = {token: at for at, token in enumerate(TOKENS)}
    assert wordpiece.encode("x" + "y" * 50_000, prefix_space=True) == (
        [ids["▁xy"]] + [ids["y"]] * 49_999
    )
