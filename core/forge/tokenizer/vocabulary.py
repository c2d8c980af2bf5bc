"""What a GGUF file's tokenizer.* metadata says, checked but not interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from forge.errors import GGUFError

if TYPE_CHECKING:
    from forge.gguf import GGUFFile

PREFIX = "tokenizer.ggml."

# Field of Vocabulary -> the metadata keys that may hold it; a later key wins, as in llama.cpp.
ID_KEYS = {
    "bos_id": ("bos_token_id",),
    "eos_id": ("eos_token_id",),
    "eot_id": ("eot_token_id",),
    "eom_id": ("eom_token_id",),
    "unk_id": ("unknown_token_id",),
    "sep_id": ("seperator_token_id",),  # misspelt in the format itself
    "pad_id": ("padding_token_id",),
    "mask_id": ("mask_token_id",),
    "fim_pre_id": ("fim_pre_token_id", "prefix_token_id"),
    "fim_suf_id": ("fim_suf_token_id", "suffix_token_id"),
    "fim_mid_id": ("fim_mid_token_id", "middle_token_id"),
    "fim_pad_id": ("fim_pad_token_id",),
    "fim_rep_id": ("fim_rep_token_id",),
    "fim_sep_id": ("fim_sep_token_id",),
}

# What llama.cpp assumes when the file is silent (llama-vocab.cpp). Its 11 for the BOS and EOS of
# "gpt2" is Falcon's; in every other such vocabulary it is a common word, so it is left out here.
DEFAULT_IDS: dict[str, dict[str, int]] = {
    "llama": {"bos_id": 1, "eos_id": 2, "unk_id": 0},
    "bert": {"bos_id": 101, "unk_id": 100, "sep_id": 102, "pad_id": 0, "mask_id": 103},
}


class TokenType(IntEnum):
    """GGUF's token types (tokenizer.ggml.token_type)."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer's tables as stored. `None` means that the file does not say."""

    path: str
    model: str
    pre: str | None
    name: str
    architecture: str
    size: int
    tokens: list[str]
    scores: np.ndarray | None
    types: np.ndarray | None
    merges: list[str] | None
    bos_id: int | None
    eos_id: int | None
    eot_id: int | None
    eom_id: int | None
    unk_id: int | None
    sep_id: int | None
    pad_id: int | None
    mask_id: int | None
    fim_pre_id: int | None
    fim_suf_id: int | None
    fim_mid_id: int | None
    fim_pad_id: int | None
    fim_rep_id: int | None
    fim_sep_id: int | None
    add_bos: bool | None
    add_eos: bool | None
    add_sep: bool | None
    add_space_prefix: bool | None
    remove_extra_whitespaces: bool | None
    lowercase: bool | None
    strip_accents: bool | None
    has_charsmap: bool
    warnings: tuple[str, ...]

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> Vocabulary:
        """Read a file's vocabulary; a table that contradicts another is a GGUFError."""
        fields = _Fields(str(file.path), file.metadata)
        model = fields.text(PREFIX + "model")
        if model is None:
            raise GGUFError(
                f"{file.path}: no {PREFIX}model: the file has no tokenizer; "
                "convert the model again."
            )
        architecture = fields.text("general.architecture") or ""
        tokens = fields.strings(PREFIX + "tokens")
        has_tokens = model not in ("no_vocab", "none")
        if has_tokens and not tokens:
            raise GGUFError(f"{file.path}: {PREFIX}tokens is missing or empty.")
        size = len(tokens or ()) if has_tokens else _embedding_rows(file, fields, architecture)
        warnings: list[str] = []
        defaults = DEFAULT_IDS.get(model, {})
        return cls(
            path=str(file.path),
            model=model,
            pre=fields.text(PREFIX + "pre") or None,
            name=fields.text("general.name") or "",
            architecture=architecture,
            size=size,
            tokens=_as_read(tokens) if has_tokens and tokens else [],
            scores=fields.numbers(PREFIX + "scores", size, np.float32),
            types=fields.numbers(PREFIX + "token_type", size, np.int32),
            merges=fields.strings(PREFIX + "merges"),
            **{
                field: fields.token_id(keys, size, defaults.get(field), warnings)
                for field, keys in ID_KEYS.items()
            },
            add_bos=fields.flag(PREFIX + "add_bos_token"),
            add_eos=fields.flag(PREFIX + "add_eos_token"),
            add_sep=fields.flag(PREFIX + "add_sep_token"),
            add_space_prefix=fields.flag(PREFIX + "add_space_prefix"),
            remove_extra_whitespaces=fields.flag(PREFIX + "remove_extra_whitespaces"),
            lowercase=fields.flag(PREFIX + "normalizer.lowercase"),
            strip_accents=fields.flag(PREFIX + "normalizer.strip_accents"),
            has_charsmap=PREFIX + "precompiled_charsmap" in file.metadata,
            warnings=tuple(warnings),
        )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed look-ups in a file's metadata: absent is None, another type is a GGUFError."""

    path: str
    metadata: Mapping[str, Any]

    def wrong(self, key: str, wanted: str) -> GGUFError:
        return GGUFError(f"{self.path}: {key} must be {wanted}.")

    def text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def integer(self, key: str) -> int | None:
        value = self.metadata.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.wrong(key, "an integer")
        return value

    def strings(self, key: str) -> list[str] | None:
        value = self.metadata.get(key)
        if value is None:
            return None
        # An empty array may carry any element type.
        if isinstance(value, np.ndarray) and value.size == 0:
            return []
        if not isinstance(value, list) or (value and not isinstance(value[0], str)):
            raise self.wrong(key, "a list of strings")
        return value

    def numbers(self, key: str, size: int, dtype: type[np.generic]) -> np.ndarray | None:
        value = self.metadata.get(key)
        if value is None:
            return None
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            raise self.wrong(key, "a list of numbers")
        if value.size < size:
            raise self.wrong(key, f"as long as the {size} tokens, not {value.size}")
        return value[:size].astype(dtype)

    def token_id(
        self, keys: tuple[str, ...], size: int, default: int | None, warnings: list[str]
    ) -> int | None:
        """The last of `keys` that names a token; llama.cpp too loads files with other ids."""
        found = default if default is not None and default < size else None
        for key in keys:
            value = self.integer(PREFIX + key)
            if value is None:
                continue
            if 0 <= value < size:
                found = value
            else:
                warnings.append(f"{PREFIX}{key} is {value}, but there are {size} tokens: ignored")
        return found


def _as_read(tokens: list[str]) -> list[str]:
    """The tokens as llama.cpp reads them: they end at a NUL, and an empty one gets a name."""
    if all(tokens) and "\0" not in "".join(tokens):
        return tokens
    return [token.split("\0", 1)[0] or f"[EMPTY_{at}]" for at, token in enumerate(tokens)]


def _embedding_rows(file: GGUFFile, fields: _Fields, architecture: str) -> int:
    """The vocabulary's size in a file without one."""
    size = fields.integer(f"{architecture}.vocab_size")
    if size is None and "token_embd.weight" in file.tensors:
        size = file.tensors["token_embd.weight"].shape[0]
    return size or 0
