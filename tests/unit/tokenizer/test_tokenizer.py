"""The front door: special tokens, BOS and EOS, bytes, errors, and which tokens end a reply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from forge.errors import GGUFError, TextError, UnsupportedModel
from forge.tokenizer import Tokenizer
from forge.tokenizer.bpe import ALPHABET
from forge.tokenizer.vocabulary import Vocabulary

PEER = Path(__file__).parents[4] / "shared/tools/llamacpp_peer.py"
PEER_CACHE = Path(os.environ.get("LLAMACPP_PEER_DIR", Path.home() / ".cache/llamacpp-peer"))
A, B, SPACE = ord("a"), ord("b"), ord(" ")
# The default model's ids by llama.cpp v0.5.0, special tokens parsed.
REAL: list[tuple[str, list[int]]] = [
    (
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n",
        [1, 4093, 198, 4898, 314, 260, 6376, 4461, 47, 2, 198],
    ),
    (
        "  don't 12345 é日本語\t\xa0👍🏽\r\n",
        [
            *(216, 1326, 982, 216, 33, 34, 35, 36, 37, 26411, 23274, 115, 40993, 179, 120, 248),
            *(197, 15442, 10813, 235, 231, 10813, 233, 138, 2738),
        ],
    ),
    (
        "def f(x):\n    return x + 1\n",
        [1604, 275, 24, 104, 727, 472, 1003, 1792, 1232, 216, 33, 198],
    ),
]


@dataclass(frozen=True)
class MetadataOnly:
    """Stands in for a GGUF file that holds nothing but its metadata."""

    metadata: Mapping[str, Any]
    path: str = "little.gguf"
    tensors: Mapping[str, Any] = field(default_factory=dict)


def make(special: Mapping[str, int], general: Mapping[str, Any] = {}, **keys: Any) -> Tokenizer:
    """A byte-level vocabulary: a token for each byte, then `special` texts with their types."""
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*ALPHABET, *special],
        "tokenizer.ggml.token_type": np.array([1] * 256 + list(special.values()), np.int32),
        "tokenizer.ggml.merges": [],
    }
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    metadata |= {f"general.{key}": value for key, value in general.items()}
    return Tokenizer(Vocabulary.from_gguf(MetadataOnly(metadata)))


def test_user_defined_tokens_are_always_found_and_control_tokens_only_on_request() -> None:
    tokenizer = make({"<c>": 3, "<u>": 4, "<unk>": 2})
    assert tokenizer.encode("a<u><u>b") == [A, 257, 257, B]
    assert tokenizer.encode("<c><unk>") == list(b"<c><unk>")
    assert tokenizer.encode("<c>a<unk><u>", special=True) == [256, A, 258, 257]


def test_no_bos_or_eos_unless_asked() -> None:
    tokenizer = make({"<s>": 3, "</s>": 3}, bos_token_id=256, eos_token_id=257, add_bos_token=True)
    assert tokenizer.encode("") == []
    assert tokenizer.encode("a") == [A]
    assert tokenizer.encode("a", bos=True, eos=True) == [256, A, 257]
    assert tokenizer.add_bos
    assert not tokenizer.add_eos


def test_a_bos_that_the_model_lacks_is_an_error() -> None:
    with pytest.raises(TextError, match="no BOS"):
        make({}).encode("a", bos=True)


def test_bytes_are_text_if_they_are_utf_8_and_else_an_error_with_the_offset() -> None:
    tokenizer = make({})
    assert tokenizer.encode("é\r\n".encode()) == list("é\r\n".encode())
    with pytest.raises(TextError, match=r"not UTF-8: byte 0xff at offset 2"):
        tokenizer.encode(b"ab\xff")


def test_a_lone_surrogate_is_an_error_with_its_place() -> None:
    with pytest.raises(TextError, match=r"U\+D800\) at character 1"):
        make({}).encode("a\ud800")


def test_decoding_hides_control_tokens_unless_asked() -> None:
    tokenizer = make({"<c>": 3, "<u>": 4})
    assert tokenizer.decode([A, 256, 257]) == "a<u>"
    assert tokenizer.decode([A, 256, 257], special=True) == "a<c><u>"
    assert tokenizer.decoder().push(256) == ""
    assert tokenizer.decoder(special=True).push(256) == "<c>"


def test_an_id_outside_the_vocabulary_is_an_error() -> None:
    for token in (-1, 256):
        with pytest.raises(TextError, match=f"Token {token} is not in the vocabulary"):
            make({}).decode([token])


# Each case by llama.cpp v0.5.0 (llama_vocab_is_eog over the whole vocabulary).
@pytest.mark.parametrize(
    ("special", "keys", "stops"),
    [
        ({"<|im_end|>": 3, "<|im_start|>": 3}, {}, ["<|im_end|>"]),
        ({"<|endoftext|>": 1, "<|im_end|>": 4, "x": 1}, {}, ["<|endoftext|>", "<|im_end|>"]),
        ({"end": 3, "turn": 3}, {"eos_token_id": 256, "eot_token_id": 257}, ["end", "turn"]),
        ({"<|fim_pad|>": 3, "<|repo_name|>": 4, "<|file_sep|>": 4}, {}, None),
        ({"<|end|>": 3, "<|return|>": 3, "<|call|>": 3}, {}, ["<|return|>", "<|call|>"]),
        ({"<|end|>": 3, "<|flush|>": 3, "<|calls|>": 3}, {}, ["<|flush|>", "<|calls|>"]),
        ({"<|end|>": 3, "<|return|>": 3}, {}, None),
        ({"</s>": 3, "<|tool_response>": 3}, {}, ["<|tool_response>"]),
    ],
)
def test_the_tokens_that_end_a_reply_are_llama_cpps(
    special: dict[str, int], keys: dict[str, int], stops: Sequence[str] | None
) -> None:
    names = list(special)
    expected = names if stops is None else stops
    assert make(special, **keys).stop_ids == {256 + names.index(text) for text in expected}


def test_well_known_texts_are_control_tokens_whatever_the_file_says() -> None:
    tokenizer = make({"<|im_end|>": 1, "<|channel|>": 3})
    assert tokenizer.decode([256, 257]) == "<|channel|>"
    assert tokenizer.encode("<|im_end|>") == list(b"<|im_end|>")
    assert tokenizer.encode("<|channel|>") == [257]


def test_phi_3s_special_tokens_swallow_the_whitespace_after_them() -> None:
    special = {"<|user|>": 3, "<|endoftext|>": 3}
    assert make(special).encode("<|user|>\n a", special=True) == [256, 10, SPACE, A]
    phi = make(special, general={"name": "Phi-3 Mini"})
    assert phi.encode("<|user|>\n a<|endoftext|> b", special=True) == [256, A, 257, SPACE, B]


def test_a_file_without_a_vocabulary_has_a_size_and_refuses_text() -> None:
    metadata = {"tokenizer.ggml.model": "no_vocab", "llama.vocab_size": 32000}
    metadata["general.architecture"] = "llama"
    tokenizer = Tokenizer(Vocabulary.from_gguf(MetadataOnly(metadata)))
    assert tokenizer.size == 32000
    assert tokenizer.stop_ids == frozenset()
    for call in (tokenizer.encode, tokenizer.decode):
        with pytest.raises(TextError, match="--tokens"):
            call("")


@pytest.mark.parametrize("model", ["t5", "rwkv", "plamo2", "something"])
def test_a_kind_of_tokenizer_that_forge_lacks_is_named(model: str) -> None:
    metadata = {"tokenizer.ggml.model": model, "tokenizer.ggml.tokens": ["a"]}
    with pytest.raises(UnsupportedModel, match=f"'{model}'"):
        Tokenizer(Vocabulary.from_gguf(MetadataOnly(metadata)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.ggml.model": None}, "no tokenizer.ggml.model"),
        ({"tokenizer.ggml.model": 7}, "model must be a string"),
        ({"tokenizer.ggml.tokens": None}, "tokens is missing or empty"),
        ({"tokenizer.ggml.tokens": []}, "tokens is missing or empty"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "tokens must be a list of strings"),
        ({"tokenizer.ggml.scores": np.zeros(2, np.float32)}, "scores must be as long as the 3"),
        ({"tokenizer.ggml.token_type": ["1"]}, "token_type must be a list of numbers"),
        ({"tokenizer.ggml.bos_token_id": "1"}, "bos_token_id must be an integer"),
        ({"tokenizer.ggml.add_bos_token": 1}, "add_bos_token must be true or false"),
        ({"tokenizer.ggml.merges": "a b"}, "merges must be a list of strings"),
    ],
)
def test_a_malformed_vocabulary_is_an_error_that_names_file_and_field(
    change: dict[str, Any], message: str
) -> None:
    metadata: dict[str, Any] = {"tokenizer.ggml.model": "gpt2"}
    metadata["tokenizer.ggml.tokens"] = ["a", "b", "c"]
    metadata |= change
    present = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(GGUFError, match=rf"little\.gguf.*{message}"):
        Vocabulary.from_gguf(MetadataOnly(present))


def test_an_id_past_the_vocabulary_is_ignored_with_a_warning() -> None:
    tokenizer = make({"<s>": 3}, bos_token_id=256, padding_token_id=99999)
    assert tokenizer.bos_id == 256
    assert tokenizer.vocabulary.pad_id is None
    assert "padding_token_id is 99999, but there are 257 tokens" in tokenizer.warnings[0]


def write(path: Path, architecture: str, special: Mapping[str, int], pre: str) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_vocab_size(256 + len(special))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*ALPHABET, "th", *special])
    writer.add_token_types([1] * 257 + list(special.values()))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_a_file_with_nothing_but_a_vocabulary_is_enough_whatever_its_architecture(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "vocabulary.gguf", "never-heard-of", {"<u>": 4}, "qwen2")
    for given in (path, str(path)):
        tokenizer = Tokenizer.from_gguf(given)
        assert tokenizer.encode("th<u>") == [256, 257]


@pytest.mark.skipif(not PEER.exists(), reason="no llama.cpp beside this checkout to compare with")
@pytest.mark.skipif(not PEER_CACHE.exists(), reason="llama.cpp's libraries are not in the cache")
@pytest.mark.parametrize("pre", ["llama-bpe", "smollm", "deepseek-v3"])
def test_llama_cpp_itself_gives_the_same_ids(pre: str, tmp_path: Path) -> None:
    path = write(tmp_path / "vocabulary.gguf", "llama", {"<u>": 4, "<c>": 3}, pre)
    text = "the <u> 1234 don't\n\n é日本 <c>th  \t中文.\r\n👩‍👩‍👧 ٣٤ ~/x \u2028"
    source = tmp_path / "text"
    source.write_bytes(text.encode())
    command = [sys.executable, PEER, "tokenize", path, "--text-file", source]
    for special in (False, True):
        options = ["--special"] if special else []
        found = subprocess.run([*command, *options], capture_output=True, check=True)
        assert Tokenizer.from_gguf(path).encode(text, special=special) == json.loads(found.stdout)


@pytest.mark.skipif("FORGE_TEST_MODEL" not in os.environ, reason="FORGE_TEST_MODEL is not set")
def test_the_default_models_ids_are_llama_cpps() -> None:
    tokenizer = Tokenizer.from_gguf(os.environ["FORGE_TEST_MODEL"])
    assert tokenizer.stop_ids == {0, 2, 4}
    for text, expected in REAL:
        assert tokenizer.encode(text, special=True) == expected
        assert tokenizer.decode(expected, special=True) == text
