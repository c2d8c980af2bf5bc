"""L3: whatever goes wrong, wherever, the reply is completed on the next backend, and says so.

Every fault is injected into a real worker around the backend under test; the reply goes on with the
same backend, unharmed. The ids are fault-phase: test_the_conversation_survives[hang-decode].
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from forge.errors import BackendError, BackendHung, BackendLost, BackendOutOfMemory, BackendWrong
from forge.faults import FAULTS, PHASES, SUBTLE, Fault, Subtle, Where
from forge.spec import BackendSpec
from forge.testing import lies
from forge.testing.conversation import TOKENS
from forge.testing.damage import ENDINGS
from forge.testing.faulty import faulty
from forge.testing.storyteller import Story, TimedEngine, tell
from forge.testing.suite.measured import Measured, measured_fixture  # noqa: F401
from forge.testing.suite.undisturbed import Undisturbed, undisturbed_fixture  # noqa: F401

NOTICED: dict[str, tuple[type[BackendError], str]] = {
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
    "few-nan": (BackendWrong, ""),
    "two-values": (BackendWrong, ""),
    "stale": (BackendWrong, ""),
    "stale-keep": (BackendWrong, ""),
    "repeat": (BackendWrong, "was drawn"),
    "few": (BackendWrong, "decoded 2 tokens of 7"),
    "outside": (BackendWrong, "and the vocabulary has"),
}
"""The error that a fault becomes, and words of the reason that the person reads."""
LATER = {("wrong", "decode"), ("stale-keep", "prefill")}
"""Noticed when it is asked again, and at the latest before the reply is said to be complete."""
STEP = {"load": 2, "check": 8, "decode": 3}
"""Not the first, where there are several."""
QUICK = {
    ("hang", "decode"), ("die", "load"), ("lost", "prefill"), ("nan", "decode"), ("wrong", "check"),
}  # fmt: skip
LATE = 5.0
"""Seconds past a budget in which a hang has to be found: killing takes some, a busy machine too."""


def where(fault: str) -> tuple[Where, ...]:
    """The phases in which a fault can be."""
    if fault in ENDINGS or fault == "slow":
        return PHASES
    if fault in lies.TOKENS:
        return ("decode",)
    if fault == "stale-keep":
        return ("prefill",)
    return PHASES[1:] if fault in FAULTS else ("check", "prefill", "decode")


def rows() -> Sequence[object]:
    """Every fault in every phase, long ones marked."""
    found = []
    for fault in (*FAULTS, *SUBTLE):
        for phase in () if fault in ("slow", "many") else where(fault):
            marks = [] if (fault, phase) in QUICK else [pytest.mark.forge_long]
            found.append(pytest.param(fault, phase, id=f"{fault}-{phase}", marks=marks))
    return found


def test_undisturbed_the_backend_says_what_the_truth_says(
    spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    for story in undisturbed.stories:
        assert [done.backend for done in story.done] == [spec.name] * 2
        assert story.fallbacks == []
        same_conversation(story, undisturbed)


@pytest.mark.parametrize(("fault", "phase"), rows())
def test_the_conversation_survives(
    fault: Fault | Subtle,
    phase: Where,
    spec: BackendSpec,
    undisturbed: Undisturbed,
    measured: Measured,
) -> None:
    step = STEP.get(phase, 1)
    bad = faulty("bad", of=spec, fault=fault, phase=phase, step=step)
    with TimedEngine(
        undisturbed.conversation.model, bad, [undisturbed.target], undisturbed.seconds
    ) as engine:
        story = tell(engine, undisturbed.conversation)
        if (fault, phase) in LATER:
            moved_later(story, undisturbed, step if phase == "decode" else TOKENS)
        else:
            moved_once(story, engine, bad, undisturbed)
            assert story.fallbacks[0].at_token == (step if phase == "decode" else 0)
    kind, words = NOTICED[fault]
    assert type(engine.failures["bad"]) is kind
    assert words in story.fallbacks[0].reason
    measured(fault, phase, story)
    if kind is BackendHung:
        found_in_time(story, phase, undisturbed)


def moved_once(
    story: Story, engine: TimedEngine, bad: BackendSpec, undisturbed: Undisturbed
) -> None:
    """The person is told once, sees no token twice, and the next backend is the one that answers.

    In a turn before the fault the bad one may have answered. One that ran out of memory gets one
    more try, with less.
    """
    target = undisturbed.target.name
    error = engine.failures[bad.name]
    again = [(bad.name, bad.name)] * (type(error) is BackendOutOfMemory)
    assert [(f.source, f.target) for f in story.fallbacks] == [*again, (bad.name, target)]
    first, fallback = story.fallbacks[0], story.fallbacks[-1]
    assert first.at_token == story.shown_before_fallback()
    assert fallback.reason == str(error)
    assert [f for done in story.done for f in done.fallbacks] == story.fallbacks
    moved_in = next(n for n, done in enumerate(story.done) if fallback in done.fallbacks)
    assert [done.backend for done in story.done[moved_in:]] == [target] * (2 - moved_in)
    assert story.ready[-1] == target
    assert [health.status for health in engine.health()] == ["failed", "ready"]
    same_conversation(story, undisturbed)


def moved_later(story: Story, undisturbed: Undisturbed, right: int) -> None:
    """After `right` tokens at least that were the truth's; what was shown stays, and more follows.

    The second turn answers what was shown, be it wrong.
    """
    (fallback,) = story.fallbacks
    assert fallback.at_token == story.shown_before_fallback()
    assert [f for done in story.done for f in done.fallbacks] == [fallback]
    for done, turn in zip(story.done, undisturbed.conversation.turns, strict=True):
        assert len(done.tokens) == len(turn.reply)
        assert done.finish_reason == "length"
    assert story.done[0].tokens[:right] == undisturbed.conversation.turns[0].reply[:right]
    assert story.done[1].backend == story.ready[-1] == undisturbed.target.name
    if right == TOKENS:
        same_conversation(story, undisturbed)


def same_conversation(story: Story, undisturbed: Undisturbed) -> None:
    """Every token that was read and said, and the messages that are left."""
    turns = undisturbed.conversation.turns
    assert [done.tokens for done in story.done] == [turn.reply for turn in turns]
    assert [done.prompt_tokens for done in story.done] == [len(turn.prompt) for turn in turns]
    assert [done.finish_reason for done in story.done] == ["length"] * len(turns)
    said = [(turn.text, done.text) for turn, done in zip(turns, story.done, strict=True)]
    contents = [message["content"] for message in story.messages]
    assert contents == [text for pair in said for text in pair]


def found_in_time(story: Story, phase: str, undisturbed: Undisturbed) -> None:
    """Not before the budget, and soon after it."""
    seconds = [undisturbed.seconds[p] for p in awaited_in(phase)]
    detected, _ = story.times()
    assert 0.95 * min(seconds) <= detected <= 4 * max(seconds) + LATE


def awaited_in(phase: str) -> tuple[str, ...]:
    """The watchdog's names for it: it knows that loading has ended by what it hears next."""
    loading = ("load", "compile", "check")
    return loading if phase in loading else (phase,)


@pytest.mark.parametrize(
    "phase",
    [pytest.param(p, marks=() if p == "prefill" else pytest.mark.forge_long) for p in PHASES],
)
def test_slow_but_alive_is_left_alone(
    phase: Where, spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    runs = 4 if phase == "check" else 1  # a known answer is a beat, and takes several
    seconds = 0.5 * undisturbed.seconds[phase] / runs
    step = 8 if phase in ("load", "decode") else 1  # there are more than need be waited for
    slow = faulty("slow", of=spec, fault="slow", phase=phase, step=step, seconds=seconds)
    with TimedEngine(
        undisturbed.conversation.model, slow, [undisturbed.target], undisturbed.seconds
    ) as engine:
        story = tell(engine, undisturbed.conversation)
    assert story.fallbacks == []
    assert [done.backend for done in story.done] == ["slow", "slow"]
    heard = [h.waited for h in story.all if h.phase in awaited_in(phase)]
    assert max(heard) >= 0.5 * seconds  # what the machine gave to others is excused, so it is less
    same_conversation(story, undisturbed)


@pytest.mark.parametrize("fault", ["hang", "die", "nan", "lost"])
@pytest.mark.forge_long
def test_the_conversation_survives_a_fault_in_its_second_turn(
    fault: Fault, spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    first = len(undisturbed.conversation.turns[0].reply) - 1  # decode steps; prefill gives a token
    bad = faulty("bad", of=spec, fault=fault, phase="decode", step=first + 2)
    with TimedEngine(
        undisturbed.conversation.model, bad, [undisturbed.target], undisturbed.seconds
    ) as engine:
        story = tell(engine, undisturbed.conversation)
        moved_once(story, engine, bad, undisturbed)
    assert story.done[0].backend == "bad"
    assert story.fallbacks[0].at_token == 2


@pytest.mark.forge_long
def test_tokens_past_those_that_were_asked_for_do_no_harm(
    spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    many = faulty("many", of=spec, fault="many", phase="decode", step=1)
    with TimedEngine(
        undisturbed.conversation.model, many, [undisturbed.target], undisturbed.seconds
    ) as engine:
        story = tell(engine, undisturbed.conversation)
    assert [done.backend for done in story.done] == ["many", "many"]
    same_conversation(story, undisturbed)
