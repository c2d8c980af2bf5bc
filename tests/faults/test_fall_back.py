"""Every fault in every phase: the reply completes on the next backend, as if nothing had been."""

from __future__ import annotations

from itertools import pairwise

import pytest

from forge.errors import (
    BackendError,
    BackendHung,
    BackendLost,
    BackendOutOfMemory,
    BackendWrong,
    UsageError,
)
from forge.events import Ready
from forge.testing.faulty import FAULTS, PHASES, faulty

from .conftest import CPU, GREEDY, SEEDED, ask

ENDINGS = {
    "hang": (BackendHung, "no progress for"),
    "busy-hang": (BackendHung, "no progress for"),
    "die": (BackendLost, "killed by SIGKILL"),
    "exit": (BackendLost, "exit code 7"),
    "abort": (BackendLost, "killed by SIGABRT"),
    "segfault": (BackendLost, "killed by SIGSEGV"),
    "exception": (BackendError, "RuntimeError: scripted"),
    "oom": (BackendOutOfMemory, "scripted: no room"),
    "lost": (BackendLost, "scripted: the device is gone"),
    "nan": (BackendWrong, ""),
    "constant": (BackendWrong, ""),
    "wrong": (BackendWrong, "wrongly"),
}
NUMBERS = ("nan", "constant", "wrong")
AT_START = ("hang", "busy-hang", "die", "exit", "abort", "segfault")


def chain(fault: str) -> list[tuple[str, int, int]]:
    """(phase, step, tokens shown by then) of the backends that fail one after the other."""
    steps = [(phase, 1, 0) for phase in PHASES if phase not in ("start", "decode")]
    steps += [("load", 5, 0), ("check", 3, 0)]
    if fault in AT_START:
        steps.insert(0, ("start", 1, 0))
    if (
        fault == "wrong"
    ):  # a known answer shows it, the model's own results have nothing beside them
        return [step for step in steps if step[0] != "prefill"]
    return [*steps, ("decode", 1, 1), ("decode", 3, 4)]


def test_every_fault_is_told_and_tried() -> None:
    assert {*ENDINGS, "slow"} == set(FAULTS)


@pytest.mark.parametrize("fault", ENDINGS)
def test_a_reply_survives_the_fault_in_every_phase_one_after_the_other(
    fault, supervise, undisturbed
) -> None:
    survives(fault, chain(fault), GREEDY, supervise, undisturbed)


@pytest.mark.parametrize("fault", [fault for fault in ENDINGS if fault != "wrong"])
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
    tries = 2 if fault == "oom" else 1  # once more, with less
    names = [spec.name for spec in failing for _ in range(tries)]
    assert [(f.source, f.target) for f in reply.fallbacks] == list(pairwise([*names, "cpu"]))
    shown = [f.at_token for f in reply.fallbacks]
    assert shown == (
        [*[0] * (2 * len(steps) - 4), 1, 2, 5, 8] if tries == 2 else [step[2] for step in steps]
    )
    kind, words = ENDINGS[fault]
    for name, fallback in zip(names, reply.fallbacks, strict=True):
        error = supervisor.failures[name]
        assert type(error) is kind
        assert str(error) == fallback.reason
        assert words in fallback.reason


@pytest.mark.parametrize("fault", NUMBERS)
@pytest.mark.parametrize("phase", ["open", "load", "compile", "check"])
def test_a_device_that_computes_wrongly_shows_not_one_token(fault, phase, supervise) -> None:
    bad = faulty("bad", of=CPU, fault=fault, phase=phase)
    reply = ask(supervise(bad, CPU))
    assert [fallback.at_token for fallback in reply.fallbacks] == [0]
    assert [event.backend for event in reply.events if isinstance(event, Ready)] == ["cpu"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_worker_that_is_slow_but_moves_is_left_alone(phase, supervise, undisturbed) -> None:
    seconds = {**dict.fromkeys(PHASES, 0.25), "start": 1.0}
    runs = 2 if phase == "check" else 1  # a known answer takes two
    slow = faulty("slow", of=CPU, fault="slow", phase=phase, seconds=0.6 * seconds[phase] / runs)
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
