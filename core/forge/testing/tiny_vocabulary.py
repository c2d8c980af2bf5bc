"""A small byte-level BPE vocabulary that can chat: every byte, some merges, ChatML's tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import gguf

from forge.errors import UsageError

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = 64

CHAT_TEMPLATE = """\
{% for message in messages -%}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

SAMPLE = """the sky is blue because the air scatters the blue light of the sun more than the red
light and at the end of the day the light takes a longer way through the air so that more of the
blue is lost on the way and what is left for the eye is red who what where when why how is it that
user assistant and system talk in turns and write in short words"""


@dataclass(frozen=True, slots=True)
class TinyVocabulary:
    """Tokens in id order: 256 bytes, the merges' results, control tokens, unused ones."""

    tokens: tuple[str, ...]
    types: tuple[gguf.TokenType, ...]
    merges: tuple[str, ...]

    @classmethod
    def trained(cls, size: int | None = None) -> TinyVocabulary:
        """Merges of the sample's most frequent pairs, and unused tokens up to `size`."""
        merges = _trained_merges()
        normal = [*byte_symbols(), *(left + right for left, right in merges)]
        least = len(normal) + len(CONTROL_TOKENS)
        if size is not None and size < least:
            raise UsageError(f"vocabulary is {size}; the tokenizer 'bytes' has {least} at least")
        unused = [f"<|unused{i}|>" for i in range((size or least) - least)]
        types = (
            [gguf.TokenType.NORMAL] * len(normal)
            + [gguf.TokenType.CONTROL] * len(CONTROL_TOKENS)
            + [gguf.TokenType.UNUSED] * len(unused)
        )
        return cls(
            (*normal, *CONTROL_TOKENS, *unused),
            tuple(types),
            tuple(f"{left} {right}" for left, right in merges),
        )

    def add_to(self, writer: gguf.GGUFWriter) -> None:
        """Write the tokenizer's metadata and the chat template."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        writer.add_bos_token_id(self.tokens.index("<|endoftext|>"))
        writer.add_eos_token_id(self.tokens.index("<|im_end|>"))
        writer.add_add_bos_token(False)
        writer.add_chat_template(CHAT_TEMPLATE)


def byte_symbols() -> list[str]:
    """The character that stands for each byte in GPT-2's vocabulary.

    Printable Latin-1 stands for itself; the other bytes take the characters from 256 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _trained_merges() -> list[tuple[str, str]]:
    space = byte_symbols()[ord(" ")]
    words = [[space, *word] for word in SAMPLE.split()]
    merges: list[tuple[str, str]] = []
    while len(merges) < MERGES:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = [_merged(word, best) for word in words]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out
