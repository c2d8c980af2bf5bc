"""A conversation whose every word is decided: the truth never hesitates between two tokens.

Backends round differently, and so may differ where the two best logits are close. Here they are at
least MARGIN apart at every token, so that any backend that is right says the same, wherever the
reply began and wherever it goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forge.gguf import GGUFFile, open_gguf
from forge.models import build_graph
from forge.template import ChatTemplate
from forge.testing.tiny import write_tiny
from forge.testing.truth import Truth
from forge.tokenizer import Tokenizer
from forge.transcript import Transcript

MARGIN = 0.25
"""Of logits whose standard deviation is 2.5. Float16 arithmetic moves them by some 0.01."""
TOKENS = 8
"""Of each reply."""
SAID = ("Why is the sky blue?", "And who is the red one?")
CONTEXT = 256
_FIRST_SEED = 15
"""The first one that will do, which saves looking for it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is said, the tokens that the model reads with it, and those it answers."""

    text: str
    prompt: tuple[int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A model and two turns of a chat with it, decoded greedily."""

    model: Path
    turns: tuple[Turn, ...]


def decided(folder: Path) -> Conversation:
    """Write tiny models until one has such a conversation; the same one every time."""
    for seed in itertools.count(_FIRST_SEED):
        path = write_tiny(
            folder / "decided.gguf", quant="f16", tokenizer="bytes", context=CONTEXT, seed=seed
        )
        with open_gguf(path) as file:
            turns = _converse(file)
        if turns:
            return Conversation(path, turns)
    raise AssertionError("there is always a next seed")


def _converse(file: GGUFFile) -> tuple[Turn, ...]:
    """The turns; none if one of their tokens is a near thing, or ends the reply."""
    truth, tokenizer = Truth(build_graph(file), file), Tokenizer.from_gguf(file)
    template, transcript = ChatTemplate.from_gguf(file), Transcript()
    messages: list[Mapping[str, str]] = []
    turns: list[Turn] = []
    for text in SAID:
        messages.append({"role": "user", "content": text})
        rendered = template.render(messages)
        prompt = transcript.encode(rendered, tokenizer)
        reply = _reply(truth, prompt)
        if not reply or tokenizer.stop_ids & set(reply):
            return ()
        answer = tokenizer.decode(reply)
        transcript.write(rendered, prompt, answer, reply)
        messages.append({"role": "assistant", "content": answer})
        turns.append(Turn(text, tuple(prompt), tuple(reply)))
    return tuple(turns)


def _reply(truth: Truth, prompt: Sequence[int]) -> list[int]:
    """The likeliest tokens; none if two were nearly as likely."""
    (output,), tokens, done = truth.graph.outputs, list(prompt), 0
    while len(tokens) < len(prompt) + TOKENS:
        fed = {"tokens": tokens[done:]}
        logits = truth.run(fed, range(done, len(tokens)), "last")[output][0]
        second, first = np.partition(logits, -2)[-2:]
        if first - second < MARGIN:
            return []
        done = len(tokens)
        tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :]
