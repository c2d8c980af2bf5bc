"""A backend that nobody here wrote: found, converted for, checked, replaced when it fails."""

import pytest

from forge import Engine, SamplingParams
from forge.errors import BackendUnsupported
from forge.testing import write_tiny

from .conftest import GREEDY, done, third

PROMPT = list(range(60, 100))
DRAWN = SamplingParams(seed=5)
PENALISED = SamplingParams(seed=5, repeat_penalty=1.3)

PLACES = ("open", "checks", "memory", "supports", "compile", "run:1", "keep", "decode")
ERRORS = (
    "BackendUnavailable",
    "BackendUnsupported",
    "BackendOutOfMemory",
    "BackendHung",
    "BackendLost",
    "BackendWrong",
    "BackendError",
    "MemoryError",
    "ZeroDivisionError",
)


@pytest.fixture(scope="module")
def undisturbed(model):
    """The CPU's reply to the prompt, by sampling parameters."""
    with Engine.open(model, backend="cpu") as engine:
        return {
            params: done(engine.generate(PROMPT, params, max_tokens=11, stop_ids=()))
            for params in (GREEDY, DRAWN, PENALISED)
        }


@pytest.mark.parametrize("params", [GREEDY, DRAWN, PENALISED], ids=["greedy", "drawn", "penalised"])
def test_it_answers_as_the_cpu_does_from_candidates_and_in_batches(
    open_engine, undisturbed, params
):
    engine = open_engine(third(), device="7")
    assert (engine.backend, engine.device) == ("third", "Third 7")
    reply = done(engine.generate(PROMPT, params, max_tokens=11, stop_ids=()))
    assert (reply.backend, reply.fallbacks) == ("third", ())
    assert reply.tokens == undisturbed[params].tokens


def test_weights_of_a_type_that_it_lacks_are_converted_and_the_person_is_told(tmp_path):
    model = write_tiny(tmp_path / "q.gguf", quant="q4_0", tokenizer="bytes")
    with Engine.open(model, backend=third()) as engine:
        (note,) = engine.ready.notes
        assert note == "16 weights converted from Q4_0 to F16: Third 0 has no kernel for them"
        assert done(engine.generate(PROMPT, GREEDY, max_tokens=3)).backend == "third"


@pytest.mark.parametrize(
    ("kind", "place"),
    [*((kind, "token:3") for kind in ERRORS)]
    + [(kind, place) for place in PLACES for kind in ("BackendLost", "ZeroDivisionError")],
)
def test_whatever_it_raises_wherever_the_reply_is_the_same(open_engine, undisturbed, kind, place):
    engine = open_engine(third(FAULT=f"{kind}@{place}"))
    reply = done(engine.generate(PROMPT, GREEDY, max_tokens=11, stop_ids=()))
    (moved,) = reply.fallbacks
    assert (moved.source, moved.target, reply.backend) == ("third", "cpu", "cpu")
    assert moved.at_token == {"decode": 1, "token:3": 3}.get(place, 0)
    name = place.partition(":")[0]
    assert "out of memory" in moved.reason or f"{kind} in {name}" in moved.reason
    assert reply.tokens == undisturbed[GREEDY].tokens
    assert [health.status for health in engine.health()] == ["failed", "ready"]


@pytest.mark.parametrize(
    "op", ["embed", "rms_norm", "matmul", "add", "rope", "attention", "silu_mul"]
)
def test_an_op_that_is_five_percent_off_is_found_before_the_first_token(open_engine, op):
    engine = open_engine(third(BUG=op))
    assert engine.backend == "cpu"
    (failed, _) = engine.health()
    assert f"Third 0 computes {op}" in failed.checks[0].detail


def test_a_cache_that_keeps_whole_blocks_gives_the_same_second_turn(open_engine):
    turns = []
    for backend in (third(), "cpu"):
        engine = open_engine(backend)
        session = engine.chat()
        for text in ("Why is the sky blue?", "And at night?"):
            reply = done(session.send(text, GREEDY, max_tokens=9))
            turns.append((reply.prompt_tokens, reply.tokens))
        if engine.backend == "third":
            log = engine.log_tail()
    assert turns[:2] == turns[2:]
    kept = [int(line.split()[1]) for line in log.splitlines() if line.startswith("kept")]
    asked = [int(line.split()[3]) for line in log.splitlines() if line.startswith("kept")]
    assert asked[-1] >= turns[0][0]
    assert kept[-1] == asked[-1] // 8 * 8


def test_a_stop_string_ends_a_batch_early_and_what_was_computed_past_it_is_forgotten(open_engine):
    engine = open_engine(third())
    tokens = done(engine.generate(PROMPT, GREEDY, max_tokens=11, stop_ids=())).tokens
    again = done(engine.generate(PROMPT, GREEDY, max_tokens=11, stop_ids=tokens[2:3]))
    assert again.finish_reason == "stop"
    assert again.tokens == tokens[:2]
    longer = done(engine.generate(PROMPT, GREEDY, max_tokens=11, stop_ids=()))
    assert longer.tokens == tokens
    assert "decoded 2 of 10" in engine.log_tail()


def test_strict_says_which_backend_failed_and_how(open_engine):
    with pytest.raises(BackendUnsupported, match="third: BackendUnsupported in compile"):
        open_engine(third(FAULT="BackendUnsupported@compile"), strict=True)
