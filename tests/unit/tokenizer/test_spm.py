"""SPM against llama.cpp v0.5.0's ids for the same vocabulary, and against the definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.errors import TextError
from forge.tokenizer.spm import SPM
from forge.tokenizer.vocabulary import TokenType, Vocabulary

# Best first: the score is minus the rank. Some join a space to the word before it.
PIECES = (
    "▁t he in er ▁a ▁the re on ▁s at or nd ll ou ▁of▁the ▁of ▁w ing s▁ ▁▁ ▁▁▁▁ hello ▁hello he▁ "
    "llo ▁he el aa aaa aaaa 日本 本語 日本語 ▁日 é ▁é \n\n 12 123 23 don't n't ' 't on' <0 <0x "
    "<0x4 an na ana nan ban banana nana ab bc abc"
)
LETTERS = "▁etaoinsrhldcumfpgwybvkxjqz0123456789\n.,'<>日本語é"


@dataclass(frozen=True)
class MetadataOnly:
    """Stands in for a GGUF file that holds nothing but its metadata."""

    metadata: Mapping[str, Any]
    path: str = "little.gguf"
    tensors: Mapping[str, Any] = field(default_factory=dict)


def make(
    tokens: Sequence[str],
    scores: Sequence[float] | None = None,
    types: Sequence[int] | None = None,
    **keys: Any,
) -> Vocabulary:
    metadata: dict[str, Any] = {"tokenizer.ggml.model": "llama"}
    metadata["tokenizer.ggml.tokens"] = list(tokens)
    if scores is not None:
        metadata["tokenizer.ggml.scores"] = np.array(scores, np.float32)
    if types is not None:
        metadata["tokenizer.ggml.token_type"] = np.array(types, np.int32)
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    return Vocabulary.from_gguf(MetadataOnly(metadata))


def little(**keys: Any) -> Vocabulary:
    """3 special tokens, 256 bytes, PIECES and LETTERS: the file that llama.cpp was asked about."""
    pieces = [piece for piece in PIECES.split(" ") if piece not in LETTERS]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces, *LETTERS]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(tokens) - 259)]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    return make(tokens, scores, types, **keys)


# text, and its ids where a space goes before it.
LLAMA_CPP: list[tuple[str, list[int]]] = [
    ("", []),
    ("hello", [280]),
    (" hello", [277, 279]),
    ("  hello", [277, 280]),
    ("hello hello", [280, 280]),
    ("the hello of the sea", [263, 280, 308, 312, 323, 263, 266, 309, 311]),
    ("s the", [266, 263]),
    ("he said", [283, 266, 311, 313, 319]),
    ("banana bananas", [308, 303, 308, 303, 315]),
    ("nanana", [308, 301, 300]),
    ("aaaaa", [262, 287]),
    ("aaaaaaaaaaa", [262, 287, 287, 285]),
    ("日本語", [288, 352, 353]),
    ("日本 語本", [288, 352, 308, 353, 352]),
    ("é é", [289, 308, 309, 207, 132]),
    ("€ 😀", [308, 229, 133, 175, 308, 243, 162, 155, 131]),
    ("a\x00b", [262, 3, 328]),
    ("\n\n\n", [308, 290, 345]),
    ("a \n b", [262, 308, 345, 308, 328]),
    ("don't can't", [308, 319, 265, 293, 308, 320, 311, 292]),
    ("on't", [308, 265, 293]),
    ("12345 123 23", [308, 336, 337, 338, 339, 340, 308, 336, 337, 338, 308, 337, 338]),
    ("<0x41>", [308, 297, 336, 350]),
    ("<unk><s></s>", [308, 349, 321, 314, 330, 350, 349, 315, 350, 349, 50, 315, 350]),
    ("<0x4", [308, 297]),
    ("abc abcabc", [262, 306, 262, 306, 307]),
    ("bcab", [308, 306, 305]),
    ("    x     y", [278, 308, 331, 278, 308, 327]),
    ("▁▁a ▁", [277, 262, 277]),
    ("of the", [308, 312, 323, 263]),
    ("of  the", [308, 312, 323, 308, 263]),
    (" of the of the", [277, 312, 323, 263, 308, 312, 323, 263]),
    ("\t\r\n", [308, 12, 16, 345]),
    ("ing\u200d", [308, 313, 314, 325, 229, 131, 144]),
    ("ZZ top", [308, 93, 93, 259, 312, 324]),
    ("hello▁hello", [280, 280]),
    (" ", [277]),
    ("     ", [278, 277]),
    ("loop ll lo", [308, 318, 312, 312, 324, 308, 270, 308, 318, 312]),
    ("shell on the ground", [266, 260, 270, 308, 265, 263, 308, 325, 316, 271, 269]),
]


@pytest.mark.parametrize(("text", "ids"), LLAMA_CPP)
def test_the_ids_are_those_of_llama_cpp(text: str, ids: list[int]) -> None:
    assert SPM(little()).encode(text, prefix_space=True) == ids


@pytest.mark.parametrize(("text", "ids"), LLAMA_CPP)
def test_asking_again_gives_the_same_ids(text: str, ids: list[int]) -> None:
    spm = SPM(little())
    assert [spm.encode(text, prefix_space=True) for _ in range(2)] == [ids, ids]


def test_a_space_is_put_first_unless_the_file_forbids_it() -> None:
    text, space = "hello", SPM(little()).encode(" hello", prefix_space=False)
    assert SPM(little()).encode(text, prefix_space=True) == space
    assert SPM(little(add_space_prefix=True)).encode(text, prefix_space=True) == space
    bare = SPM(little()).encode(text, prefix_space=False)
    assert bare != space
    assert SPM(little(add_space_prefix=False)).encode(text, prefix_space=True) == bare


def by_definition(vocabulary: Vocabulary, text: str) -> list[int]:
    """The same merges without a heap, a cache or a cut: look at every pair, merge the best."""
    ids = {token: at for at, token in reversed(list(enumerate(vocabulary.tokens)))}
    assert vocabulary.scores is not None
    spans = list(text.replace(" ", "▁"))
    while True:
        pairs = [
            (-vocabulary.scores[ids[a + b]], at)
            for at, (a, b) in enumerate(pairwise(spans))
            if a + b in ids
        ]
        if not pairs:
            break
        at = min(pairs)[1]
        spans[at : at + 2] = ["".join(spans[at : at + 2])]
    return [
        token
        for span in spans
        for token in ([ids[span]] if span in ids else [ids[f"<0x{b:02X}>"] for b in span.encode()])
    ]


BYTES = [f"<0x{value:02X}>" for value in range(256)]
SCORES = st.sampled_from([-3.0, -2.0, -1.5, -1.0, 0.0, 1.0])


@given(
    pieces=st.dictionaries(st.text("ab▁\n", min_size=1, max_size=5), SCORES, max_size=40),
    texts=st.lists(st.text("ab▁ \né", max_size=60), max_size=5),
)
def test_cutting_caching_and_the_heap_change_nothing(
    pieces: dict[str, float], texts: list[str]
) -> None:
    vocabulary = make(BYTES + list(pieces), [0.0] * 256 + list(pieces.values()))
    spm = SPM(vocabulary)
    for text in texts:
        assert spm.encode(text, prefix_space=False) == by_definition(vocabulary, text)


@given(st.text())
def test_the_pieces_of_any_text_are_its_bytes(text: str) -> None:
    spm = SPM(little())
    ids = spm.encode(text, prefix_space=False)
    assert b"".join(map(spm.piece, ids)) == text.replace("▁", " ").encode()


def test_a_piece_is_what_its_type_says() -> None:
    tokens = ["▁a", "<unk>", "▁b", "▁c", "▁d", "<0x0A>", "<0x8f>", "<0xZZ>", "\udcff"]
    types = [
        TokenType.NORMAL,
        TokenType.UNKNOWN,
        TokenType.CONTROL,
        TokenType.USER_DEFINED,
        TokenType.UNUSED,
        TokenType.BYTE,
        TokenType.BYTE,
        TokenType.BYTE,
        TokenType.NORMAL,
    ]
    spm = SPM(make(tokens, types=types))
    assert [spm.piece(token) for token in range(len(tokens))] == [
        b" a",
        b"<unk>",
        "▁b".encode(),
        "▁c".encode(),
        b"",
        b"\n",
        b"\x8f",
        b"<0xZZ>",
        b"\xff",
    ]


def test_without_byte_tokens_a_run_of_unknown_characters_is_one_unknown_token() -> None:
    spm = SPM(make(["<unk>", "a", "▁"], [0, 0, 0], [2, 1, 1]))
    assert spm.encode("axyax", prefix_space=False) == [1, 0, 1, 0]


def test_without_byte_tokens_and_an_unknown_token_the_character_is_named() -> None:
    spm = SPM(replace(make(["a"]), unk_id=None))
    with pytest.raises(TextError, match=r"^little\.gguf: the vocabulary has no token for 'é'"):
        spm.encode("aéa", prefix_space=False)


def test_tokens_end_at_a_nul_and_empty_ones_have_a_name_as_in_llama_cpp() -> None:
    spm = SPM(make(["x", "", "a\0b", "[E", "[", "E"], [0, 0, 0, 0, 0, 0]))
    assert spm.piece(1) == b"[EMPTY_1]"
    assert spm.encode("a", prefix_space=False) == [2]


def test_of_two_equal_tokens_the_first_counts() -> None:
    assert SPM(make(["x", "a", "a"])).encode("a", prefix_space=False) == [1]


def test_long_texts_without_a_place_to_cut_are_encoded() -> None:
    spm = SPM(little(add_space_prefix=False))
    quad = spm.encode("aaaa", prefix_space=True)
    assert spm.encode("a" * 40_000, prefix_space=True) == quad * 10_000
