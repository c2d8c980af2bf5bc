"""What the tests of faults and the soak judge by: a decided conversation, budgets, growth."""

from __future__ import annotations

import mmap
import os
import subprocess

import pytest

from forge.budgets import FIRST_USE
from forge.events import Done, Fallback, Loading, Prefill, Token
from forge.faults import FAULTS, SUBTLE
from forge.testing.conversation import MARGIN, TOKENS, decided
from forge.testing.storyteller import LEAST, Heard, Story, budgets
from forge.testing.suite.test_faults import LATER, NOTICED, where
from forge.testing.truth import Truth
from forge.testing.usage import Tolerance, Usage, children, grown, growth, settled


def test_no_word_of_the_conversation_is_a_near_thing(tmp_path):
    from forge.gguf import open_gguf
    from forge.models import build_graph

    conversation = decided(tmp_path)
    with open_gguf(conversation.model) as file:
        truth = Truth(build_graph(file), file)
    for turn in conversation.turns:
        tokens = [*turn.prompt, *turn.reply]
        assert len(turn.reply) == TOKENS
        (logits,) = truth.run({"tokens": tokens}, range(len(tokens))).values()
        for at, token in enumerate(turn.reply, len(turn.prompt)):
            row = logits[at - 1]
            assert row[token] - max(row[:token].max(), row[token + 1 :].max()) >= MARGIN


def test_every_fault_is_noticed_where_it_can_be_but_for_those_that_do_no_harm():
    assert {*NOTICED, "slow", "many"} == {*FAULTS, *SUBTLE}
    for fault, phase in LATER:
        assert phase in where(fault)


def test_a_backend_has_three_times_as_long_as_it_took_and_a_quick_one_the_least():
    loading = [
        Heard(Loading("x", "open"), 4.0, "start"),
        Heard(Loading("x", "load"), 0.01, "open"),
        Heard(Loading("x", "load", 1, 3), 8.0, "load"),
        Heard(Loading("x", "load", 2, 3), 1.0, "load"),
        Heard(Loading("x", "load", 3, 3), 3.0, "load"),
    ]
    seconds = budgets([Story(loading, [], [])])
    assert seconds["start"] == 3 * 4.0 / FIRST_USE  # the first piece gets that many times more
    assert seconds["open"] == LEAST["open"]
    assert seconds["load"] == 3 * 3.0


def test_a_story_knows_what_was_shown_and_how_long_it_took_to_go_on():
    events = [Prefill(3, 3), Token(1), Token(2), Fallback("a", "b", "why", 2), Prefill(5, 5)]
    turn = [Heard(event, 1.0, "decode") for event in [*events, Token(3)]]
    done = Heard(Done((1, 2, 3), 3, "length", "b", "B"), 1.0, "decode")
    story = Story([], [[*turn, done]], [])
    assert story.shown_before_fallback() == 2
    assert story.times() == (1.0, 2.0)
    with pytest.raises(ValueError, match="never moved"):
        Story([], [[done]], []).shown_before_fallback()


@pytest.mark.parametrize(
    ("samples", "least", "most"),
    [
        ([5] * 16, 0, 0),
        ([100 * n for n in range(16)], 100, 100),  # a leak
        ([n // 2 for n in range(16)], 0.3, 0.6),  # in every other cycle
        ([min(n, 4) * 1000 for n in range(16)], 0, 0),  # a cache that fills up
        ([0] * 12 + [10**9] * 4, 0, 0),  # one more arena
        ([7, 9] * 8, -2, 0.5),  # to and fro
    ],
)
def test_growth_is_what_is_lost_again_and_again(samples, least, most):
    assert least <= growth(samples) <= most


def test_too_few_cycles_show_nothing_and_are_refused():
    with pytest.raises(ValueError, match="too few"):
        growth([1, 2, 3])


def test_what_grows_is_named_with_its_samples():
    samples = [Usage(1000 + n, 10 + n, 4, 0) for n in range(12)]
    (found,) = grown(samples, Tolerance(10))
    assert found.startswith("descriptors: 1.0 more a cycle: [10, 11")


def test_growth_that_is_not_there_the_next_time_was_another_programs():
    noise = iter([["memory"], []])
    assert settled(lambda: next(noise)) == []
    assert settled(lambda: ["memory"]) == ["memory"]


def test_the_usage_of_a_process_counts_what_it_holds():
    before, had = Usage.of(), children()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    block = mmap.mmap(-1, 8 << 20)  # of its own: an allocator may have room that was used before
    block[:] = os.urandom(len(block))
    process = subprocess.Popen(["sleep", "60"])
    try:
        now = Usage.of()
        assert now.descriptors == before.descriptors + 3
        assert now.children == before.children + 1
        assert now.memory >= before.memory + len(block) // 2
        assert children() == had | {process.pid}
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert children() == had | {process.pid}  # dead, and nobody has asked how
    finally:
        process.kill()
        process.wait()
        for file in files:
            os.close(file)
    assert children() == had
