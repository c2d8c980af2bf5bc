"""Backends that fail one after the other: the reply completes on the last, as if nothing had been.

The faults that are no row of the matrix (`test_matrix.py`), and the phase that is no column of it.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from forge.errors import BackendError, BackendHung, BackendLost, BackendWrong, UsageError
from forge.events import Ready
from forge.testing.faulty import FAULTS, PHASES, faulty

from .conftest import CPU, GREEDY, SEEDED, ask
from .matrix.play import SCRIPTS

ENDINGS = {
    "busy-hang": (BackendHung, "no progress for"),
    "die": (BackendLost, "killed by SIGKILL"),
    "exit": (BackendLost, "exit code 7"),
    "exception": (BackendError, "RuntimeError: scripted"),
    "lost": (BackendLost, "scripted: the device is gone"),
    "constant": (BackendWrong, ""),
}
NUMBERS = ("nan", "constant", "wrong")
AT_START = ("busy-hang", "die", "exit")
IN_THE_MATRIX = ("hang", "abort", "segfault", "slow", "nan", "wrong", "oom")


def chain(fault: str) -> list[tuple[str, int, int]]:
    """(phase, step, tokens shown by then) of the backends that fail one after the other."""
    steps = [(phase, 1, 0) for phase in PHASES if phase not in ("start", "decode")]
    steps += [("load", 5, 0), ("check", 3, 0)]
    if fault in AT_START:
        steps.insert(0, ("start", 1, 0))
    return [*steps, ("decode", 1, 1), ("decode", 3, 4)]


def test_every_fault_is_told_and_tried() -> None:
    assert {*ENDINGS, *IN_THE_MATRIX} == set(FAULTS)
    assert {script for script, _ in SCRIPTS.values()} | {"slow"} == set(IN_THE_MATRIX)


@pytest.mark.parametrize("fault", ENDINGS)
def test_a_reply_survives_the_fault_in_every_phase_one_after_the_other(
    fault, supervise, undisturbed
) -> None:
    survives(fault, chain(fault), GREEDY, supervise, undisturbed)


@pytest.mark.parametrize("fault", ENDINGS)
def test_a_seeded_reply_draws_the_same_numbers_on_the_next_backend(
    fault, supervise, undisturbed
) -> None:
    steps = [step for step in chain(fault) if step[0] in ("prefill", "decode")]
    survives(fault, steps, SEEDED, supervise, undisturbed)


def survives(fault, steps, params, supervise, undisturbed) -> None:
    """One backend after the other fails at its step, and the reply shows nothing of it."""
    failing = [
        faulty(f"{fault}-{phase}-{step}", of=CPU, fault=fault, phase=phase, step=step)
        for phase, step, _ in steps
    ]
    supervisor = supervise(*failing, CPU)
    reply = ask(supervisor, params)
    assert reply.tokens == undisturbed(params)
    assert reply.reason == "length"
    names = [spec.name for spec in failing]
    assert [(f.source, f.target) for f in reply.fallbacks] == list(pairwise([*names, "cpu"]))
    assert [f.at_token for f in reply.fallbacks] == [step[2] for step in steps]
    kind, words = ENDINGS[fault]
    for name, fallback in zip(names, reply.fallbacks, strict=True):
        error = supervisor.failures[name]
        assert type(error) is kind
        assert str(error) == fallback.reason
        assert words in fallback.reason


@pytest.mark.parametrize(
    ("fault", "phase"),
    [(fault, "check") for fault in NUMBERS]
    + [("constant", phase) for phase in ("open", "load", "compile")],
)
def test_a_device_that_computes_wrongly_shows_not_one_token(fault, phase, supervise) -> None:
    bad = faulty("bad", of=CPU, fault=fault, phase=phase)
    reply = ask(supervise(bad, CPU))
    assert [fallback.at_token for fallback in reply.fallbacks] == [0]
    assert [event.backend for event in reply.events if isinstance(event, Ready)] == ["cpu"]


def test_a_worker_that_is_slow_with_known_answers_but_moves_is_left_alone(
    supervise, undisturbed
) -> None:
    seconds = {**dict.fromkeys(PHASES, 0.25), "start": 1.0}
    slow = faulty("slow", of=CPU, fault="slow", phase="check", seconds=0.3 * seconds["check"])
    reply = ask(supervise(slow, CPU, seconds=seconds), count=5)
    assert reply.fallbacks == []
    assert reply.tokens == undisturbed(GREEDY)[:5]


def test_what_cannot_be_scripted_is_refused() -> None:
    for wrong in (
        {"fault": "tired"},
        {"phase": "lunch"},
        {"step": 0},
        {"phase": "start", "fault": "nan"},
    ):
        with pytest.raises(UsageError):
            faulty("x", of=CPU, **{"fault": "hang", "phase": "open", **wrong})
