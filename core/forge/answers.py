"""What a worker answers to each kind of request, as it comes, and what of it makes no sense."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from forge.board import read_block
from forge.channel import Channel
from forge.dialogue import Dialogue
from forge.events import FinishReason, Loading, Prefill, Token
from forge.messages import (
    Answer,
    Beat,
    Block,
    Evaluate,
    Finished,
    Generate,
    Next,
    Profile,
    Profiled,
    Started,
    Tokens,
    Warm,
    Warmed,
)
from forge.pace import Pace
from forge.profile import RunProfile

_CHUNK = 512
"""The most tokens of a first chunk, as far as anybody knows."""


def reply(
    dialogue: Dialogue,
    channel: Channel[Answer],
    request: Generate,
    pace: Pace,
    vocabulary: int,
    interrupted: Callable[[], bool],
) -> Generator[Prefill | Token, None, FinishReason]:
    """The tokens of a reply as they come; returns why it ended. The request is given its number."""
    number, tokens = dialogue.begin("idle"), request.tokens
    made = done = 0
    try:
        dialogue.send(msgspec.structs.replace(request, id=number), interrupted)
        while True:
            if not channel.pending:
                pace.gather(request.count - made)
            answer = dialogue.receive(interrupted, number)
            if answer is None:
                return "cancelled"
            match answer:
                case Started() if answer.kept < len(tokens):
                    pace.prefilled = len(tokens) - answer.kept
                    done = answer.kept
                    dialogue.budgets.chunk(min(pace.prefilled, _CHUNK))
                    dialogue.budgets.enter("prefill")
                case Beat(phase="prefill") if done < answer.done <= answer.total == len(tokens):
                    dialogue.budgets.chunk(answer.done - done)
                    done = answer.done
                    dialogue.budgets.beat("prefill")
                    yield Prefill(answer.done, answer.total)
                case Tokens():
                    made += len(answer.ids)
                    if made > request.count or max(answer.ids) >= vocabulary:
                        raise dialogue.nonsense(answer)
                    dialogue.budgets.enter("decode")
                    for token in answer.ids:
                        pace.token()
                        yield Token(token)
                case Finished():
                    dialogue.unfinished = False
                    return answer.reason
                case _:
                    raise dialogue.nonsense(answer)
    finally:
        dialogue.end(number)


def blocks(
    dialogue: Dialogue, channel: Channel[Answer], tokens: Sequence[int], vocabulary: int
) -> Generator[NDArray[np.float32], None, None]:
    """The logits after each token, in blocks f32 [n, vocabulary]."""
    number, row = dialogue.begin("evaluate"), 0
    try:
        dialogue.send(Evaluate(number, list(tokens)))
        while (answer := dialogue.receive(lambda: False, number)) is not None:
            match answer:
                case Block() if answer.start == row and answer.count <= len(tokens) - row:
                    dialogue.budgets.beat("evaluate")
                    row += answer.count
                    yield read_block(channel.board, answer.count, vocabulary)
                    dialogue.send(Next(number))
                case Finished() if row == len(tokens):
                    dialogue.unfinished = False
                    return
                case _:
                    raise dialogue.nonsense(answer)
    finally:
        dialogue.end(number)


def profiled(
    dialogue: Dialogue, backend: str, tokens: int, start: int, repetitions: int
) -> Generator[Loading, None, RunProfile]:
    """How long the kernels of a run take; a piece of it is some repetitions."""
    number, done = dialogue.begin("idle"), 0
    try:
        dialogue.budgets.chunk(min(tokens, _CHUNK))
        dialogue.budgets.enter("profile")
        dialogue.send(Profile(number, tokens, start, repetitions))
        while True:
            match answer := dialogue.receive(lambda: False, number):
                case Beat(phase="profile") if done < answer.done <= answer.total == repetitions:
                    dialogue.budgets.beat("profile")
                    done = answer.done
                    yield Loading(backend, "profile", done, repetitions)
                case Profiled() if done == repetitions and answer.tokens <= tokens:
                    dialogue.unfinished = False
                    return RunProfile(answer.tokens, start, tuple(answer.kernels))
                case _:
                    raise dialogue.nonsense(answer)
    finally:
        dialogue.end(number)


def warmed(
    dialogue: Dialogue, backend: str, model: Path | None, kv_type: str | None
) -> Generator[Loading, None, str]:
    """What is compiled ahead for a model, or for any; returns the folder where it is kept."""
    number = dialogue.begin("compile")
    dialogue.send(Warm(number, None if model is None else os.fsencode(model), kv_type))
    while True:
        match answer := dialogue.receive(lambda: False, number):
            case Beat(phase="compile"):
                dialogue.budgets.beat("compile", answer.done)
                yield Loading(backend, "compile", answer.done, answer.total, answer.detail)
            case Warmed():
                dialogue.unfinished = False
                return answer.folder
            case _:
                raise dialogue.nonsense(answer)
