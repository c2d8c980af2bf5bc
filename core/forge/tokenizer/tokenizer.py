"""Text to token ids and back: the front door to every kind of vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Protocol

from forge.errors import TextError, UnsupportedModel
from forge.tokenizer.detokenizer import StreamDecoder
from forge.tokenizer.roles import Roles, roles_of
from forge.tokenizer.special import Partition
from forge.tokenizer.vocabulary import TokenType, Vocabulary

if TYPE_CHECKING:
    from forge.gguf import GGUFFile


class Fragments(Protocol):
    """An algorithm for text that holds no special tokens."""

    def encode(self, text: str, *, prefix_space: bool) -> list[int]:
        """Ids; `prefix_space`: the text comes first or after a special token."""

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for."""


class Tokenizer:
    """The tokenizer of one model; its ids equal llama.cpp's.

    `stop_ids` are the tokens that end a reply, `add_bos` and `add_eos` what the model was trained
    with (encode() adds neither unless asked), `warnings` what is doubtful about the file.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.size = vocabulary.size
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self._roles = roles_of(vocabulary)
        self.stop_ids = self._roles.stop_ids
        corrected = replace(vocabulary, types=self._roles.types)
        self._algorithm, self.add_bos, self.add_eos, warnings = _algorithm(corrected)
        self.warnings: tuple[str, ...] = vocabulary.warnings + warnings
        shown_raw = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)
        self._raw = frozenset(self._roles.ids(*shown_raw))
        self._hidden = frozenset(self._roles.ids(TokenType.CONTROL, TokenType.UNKNOWN))
        self._partitions: dict[bool, Partition] = {}
        self._pieces: dict[int, bytes] = {}

    @classmethod
    def from_gguf(cls, file: GGUFFile | str | PathLike[str]) -> Tokenizer:
        """The tokenizer in an open GGUF file, or in the one at a path; weights are not needed."""
        if not isinstance(file, str | PathLike):
            return cls(Vocabulary.from_gguf(file))
        from forge.gguf import open_gguf

        with open_gguf(file) as opened:
            return cls(Vocabulary.from_gguf(opened))

    @property
    def has_text(self) -> bool:
        """Whether the file has a vocabulary to read and write text with."""
        return self._algorithm is not None

    @property
    def leading_bos(self) -> int | None:
        """The BOS token, if the model was trained with one before every text."""
        return self.bos_id if self.add_bos else None

    def encode(
        self, text: str | bytes, *, special: bool = False, bos: bool = False, eos: bool = False
    ) -> list[int]:
        """The ids of a text: user-defined tokens are found in it, control tokens with `special`."""
        algorithm = self._need_algorithm()
        ids = [self._required("BOS", self.bos_id)] if bos else []
        prefix_space = True
        for part in self._partition(special)(_checked(text)):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += algorithm.encode(part, prefix_space=prefix_space)
            prefix_space = isinstance(part, int)
        if eos:
            ids.append(self._required("EOS", self.eos_id))
        return ids

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text of the ids, control tokens left out unless `special`."""
        decoder = self.decoder(special=special)
        return "".join(map(decoder.push, ids)) + decoder.finish()

    def decoder(self, *, special: bool = False) -> StreamDecoder:
        """A decoder for tokens that arrive one by one; together it gives what decode() gives."""
        self._need_algorithm()
        return StreamDecoder(self.piece if special else self._visible)

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; of a control token its name."""
        found = self._pieces.get(token)
        if found is not None:
            return found
        algorithm = self._need_algorithm()
        if not 0 <= token < self.size:
            raise TextError(
                f"Token {token} is not in the vocabulary of {self.vocabulary.path}, "
                f"which has {self.size} tokens."
            )
        if token in self._raw:
            found = self.vocabulary.tokens[token].encode("utf-8", "surrogateescape")
        else:
            found = algorithm.piece(token)
        self._pieces[token] = found
        return found

    def _visible(self, token: int) -> bytes:
        return b"" if token in self._hidden else self.piece(token)

    def _partition(self, special: bool) -> Partition:
        partition = self._partitions.get(special)
        if partition is None:
            partition = self._partitions[special] = _partition(
                self.vocabulary, self._roles, special
            )
        return partition

    def _need_algorithm(self) -> Fragments:
        if self._algorithm is None:
            raise TextError(
                f"{self.vocabulary.path} has no vocabulary, so it takes no text: "
                "`forge run --tokens` takes ids."
            )
        return self._algorithm

    def _required(self, name: str, token: int | None) -> int:
        if token is None:
            raise TextError(f"{self.vocabulary.path}: the model has no {name} token.")
        return token


def _algorithm(
    vocabulary: Vocabulary,
) -> tuple[Fragments | None, bool, bool, tuple[str, ...]]:
    """The algorithm, whether it adds BOS and EOS by default, and warnings.

    Each is imported when it is needed, since a program has one model and start-up counts.
    """
    algorithm: Fragments | None
    add_bos = add_eos = False
    warnings: tuple[str, ...] = ()
    if vocabulary.model in ("no_vocab", "none"):
        return None, False, False, ()
    if vocabulary.model in ("gpt2", "gemma4"):
        from forge.tokenizer.bpe import BPE, rules_for

        algorithm = BPE(vocabulary)
        add_bos = rules_for(vocabulary).add_bos
        if vocabulary.model == "gpt2" and vocabulary.pre is None:
            warnings = ("tokenizer.ggml.pre is missing: text is cut by llama.cpp's default rules",)
    elif vocabulary.model == "llama":
        from forge.tokenizer.spm import SPM

        algorithm, add_bos = SPM(vocabulary), True
    elif vocabulary.model == "bert":
        from forge.tokenizer.wordpiece import WordPiece

        algorithm, add_bos = WordPiece(vocabulary), True
    else:
        raise UnsupportedModel(
            f"{vocabulary.path}: forge lacks the tokenizer {vocabulary.model!r} "
            "(tokenizer.ggml.model)."
        )
    if vocabulary.add_bos is not None:
        add_bos = vocabulary.add_bos
    if vocabulary.add_eos is not None:
        add_eos = vocabulary.add_eos
    return algorithm, add_bos, add_eos, warnings


def _partition(vocabulary: Vocabulary, roles: Roles, special: bool) -> Partition:
    """The tokens to look for, and which of them swallow whitespace: llama.cpp knows by name."""
    types = [TokenType.USER_DEFINED]
    if special:
        types += [TokenType.CONTROL, TokenType.UNKNOWN]
    tokens: dict[str, int] = {}
    for token in roles.ids(*types):
        tokens.setdefault(vocabulary.tokens[token], token)
    strip_left: list[int] = []
    strip_right: list[int] = []
    pre, name = vocabulary.pre or "", vocabulary.name.lower()
    if any(part in pre for part in ("jina-v2-de", "jina-v2-es", "jina-v2-code")) or any(
        part in vocabulary.architecture for part in ("nomic-bert-moe", "jina-bert-v3")
    ):
        strip_left = [tokens[text] for text in ("<mask>",) if text in tokens]
    elif "phi-3" in name or "phi3" in name:
        kept = ("<unk>", "<s>", "<|endoftext|>")
        strip_right = [token for text, token in tokens.items() if text not in kept]
    elif "modern-bert" in name:
        strip_left = [tokens[text] for text in ("[MASK]",) if text in tokens]
    return Partition(tokens, strip_left=strip_left, strip_right=strip_right)


def _checked(text: str | bytes) -> str:
    """The text, if it is Unicode."""
    if isinstance(text, bytes):
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise TextError(
                f"The text is not UTF-8: byte 0x{text[error.start]:02x} at offset {error.start}."
            ) from None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"The text is not Unicode: a lone surrogate (U+{ord(text[error.start]):04X}) "
            f"at character {error.start}."
        ) from None
    return text
