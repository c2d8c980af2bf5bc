"""Byte-pair encoding against llama.cpp v0.5.0's ids, recorded, and against its definition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.errors import GGUFError, UnsupportedModel
from forge.tokenizer import Tokenizer
from forge.tokenizer.bpe import ALPHABET, BPE
from forge.tokenizer.pretokenizers import RULES
from forge.tokenizer.vocabulary import Vocabulary

RECORDED = json.loads(Path(__file__).with_name("bpe_cases.json").read_text("utf-8"))
MERGES = RECORDED["merges"].split(" | ")
NO_MERGE_MAKES = "Ġqzx"
SPECIAL = {"<|endoftext|>": 3, "<|im_start|>": 3, "<|im_end|>": 3, "<tool>": 4, "  <tool>": 4}


@dataclass(frozen=True)
class MetadataOnly:
    """Stands in for a GGUF file that holds nothing but its metadata."""

    metadata: Mapping[str, Any]
    path: str = "little.gguf"
    tensors: Mapping[str, Any] = field(default_factory=dict)


def make(
    tokens: Sequence[str],
    merges: Sequence[str] | None,
    types: Sequence[int] | None = None,
    model: str = "gpt2",
    **keys: Any,
) -> Vocabulary:
    metadata: dict[str, Any] = {"tokenizer.ggml.model": model}
    metadata["tokenizer.ggml.tokens"] = list(tokens)
    if merges is not None:
        metadata["tokenizer.ggml.merges"] = list(merges)
    if types is not None:
        metadata["tokenizer.ggml.token_type"] = np.array(types, np.int32)
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    return Vocabulary.from_gguf(MetadataOnly(metadata))


def recorded_vocabulary(pre: str | None) -> Vocabulary:
    """The vocabulary that llama.cpp was asked about."""
    merged = dict.fromkeys(merge.replace(" ", "") for merge in MERGES)
    plain = [*ALPHABET, *merged, NO_MERGE_MAKES]
    types = [1] * len(plain) + list(SPECIAL.values())
    keys = {} if pre is None else {"pre": pre}
    return make([*plain, *SPECIAL], MERGES, types, **keys)


@pytest.mark.parametrize("pre", RECORDED["ids"])
def test_ids_are_llama_cpps_under_each_pre_tokenizer(pre: str) -> None:
    tokenizer = Tokenizer(recorded_vocabulary(pre))
    for text, expected in zip(RECORDED["texts"], RECORDED["ids"][pre], strict=True):
        assert tokenizer.encode(text) == expected[0], text
        assert tokenizer.encode(text, special=True) == expected[-1], text


def test_every_byte_level_rule_has_recorded_ids() -> None:
    recorded = [RULES[pre] for pre in RECORDED["ids"]]
    missing = [pre for pre, rules in RULES.items() if rules.byte_level and rules not in recorded]
    assert missing == []


ROUND_TRIP = Tokenizer(recorded_vocabulary("default"))


@given(st.text())
def test_any_text_comes_back_from_its_ids(text: str) -> None:
    assert ROUND_TRIP.decode(ROUND_TRIP.encode(text)) == text


def test_the_earliest_merge_goes_first_and_of_equal_ones_the_left() -> None:
    vocabulary = make([*ALPHABET, "bc", "ab", "aa"], ["b c", "a b", "a a"], pre="gpt-2")
    bpe = BPE(vocabulary)
    assert bpe.encode("abc") == [ALPHABET.index("a"), 256]
    assert bpe.encode("aaa") == [258, ALPHABET.index("a")]


def test_of_a_merge_listed_twice_the_first_counts() -> None:
    tokens = [*ALPHABET, "ab", "bc"]
    bpe = BPE(make(tokens, ["a b", "b c", "a b"], pre="gpt-2"))
    assert bpe.encode("abc") == [256, ALPHABET.index("c")]


# Ids by llama.cpp for: a few letters but no "e", a merge into "th" that is no token, and one that
# is no pair. It writes what is no token byte by byte, and leaves out bytes without a token.
@pytest.mark.parametrize(
    ("text", "expected"), [("the", [0, 1]), ("hat", [1, 4]), ("é", []), ("att", [4, 0])]
)
def test_what_is_no_token_is_spelt_in_bytes(text: str, expected: list[int]) -> None:
    bpe = BPE(make(["t", "h", "a", "b", "at"], ["t h", "a t", "x", "y y"], pre="gpt-2"))
    assert bpe.encode(text) == expected


def test_a_name_unknown_to_llama_cpp_is_an_error_that_names_it() -> None:
    with pytest.raises(UnsupportedModel, match=r"little\.gguf: unknown pre-tokenizer 'gpt-9'"):
        Tokenizer(make(ALPHABET, [], pre="gpt-9"))


def test_a_missing_name_is_the_default_with_a_warning() -> None:
    tokenizer = Tokenizer(recorded_vocabulary(None))
    default = Tokenizer(recorded_vocabulary("default"))
    assert "tokenizer.ggml.pre is missing" in tokenizer.warnings[0]
    assert default.warnings == ()
    for text in RECORDED["texts"]:
        assert tokenizer.encode(text) == default.encode(text)


def test_missing_merges_are_an_error_but_for_kimi_k2() -> None:
    with pytest.raises(GGUFError, match="merges is missing"):
        BPE(make(ALPHABET, None, pre="gpt-2"))
    assert BPE(make(ALPHABET, None, pre="kimi-k2")).encode("ab") == [97, 98]


def test_a_piece_is_the_bytes_that_its_characters_stand_for() -> None:
    bpe = BPE(make([*ALPHABET, "Ġthe", "ä¸Ń", "你"], [], pre="gpt-2"))
    assert [bpe.piece(byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]
    assert bpe.piece(256) == b" the"
    assert bpe.piece(257) == "中".encode()
    assert bpe.piece(258) == "你".encode()  # not of the alphabet: as it stands


# The "gemma4" vocabulary and ids are from llama.cpp.
GEMMA_TOKENS = ["<pad>", "<eos>", "<bos>", "<unk>", "\n", "\n\n", "▁", "▁▁", *"abeht", "th", "the"]
GEMMA_TOKENS += ["▁the", "é", *(f"<0x{byte:02X}>" for byte in range(256))]
GEMMA_TYPES = [3] * 4 + [1] * 13 + [6] * 256
GEMMA_MERGES = ["t h", "th e", "▁ the", "▁ ▁"]


def gemma(**keys: Any) -> Tokenizer:
    return Tokenizer(make(GEMMA_TOKENS, GEMMA_MERGES, GEMMA_TYPES, model="gemma4", **keys))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the the", [14, 15]),
        ("   the", [7, 15]),
        ("a\n\nb", [8, 5, 9]),
        ("a\n\n\nb", [8, 4, 4, 4, 9]),
        ("é中", [16, 245, 201, 190]),
        ("▁a", [6, 8]),
        ("e\tx", [10, 26, 137]),
        ("<eos>a", [77, 10, 128, 132, 79, 8]),
    ],
)
def test_gemma4_merges_whole_lines_and_spells_the_rest_in_byte_tokens(
    text: str, expected: list[int]
) -> None:
    assert gemma().encode(text) == expected
    assert gemma(pre="default").encode(text) == expected


def test_gemma4_pieces_are_text_with_spaces_and_single_bytes() -> None:
    tokenizer = gemma()
    assert tokenizer.piece(15) == b" the"
    assert tokenizer.piece(17 + 0xE4) == b"\xe4"
    assert tokenizer.decode(tokenizer.encode("é中 the")) == "é中 the"
