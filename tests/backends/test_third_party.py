"""A backend that nobody here wrote: found, converted for, checked, replaced when it fails."""

from dataclasses import replace

import pytest

from forge import Engine, SamplingParams
from forge.errors import BackendUnsupported, NoBackend, UsageError
from forge.gguf import open_gguf
from forge.models import build_graph
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
    assert (engine.backend, engine.device) == ("third", "Third 7 as asked")
    reply = done(engine.generate(PROMPT, params, max_tokens=11, stop_ids=()))
    assert (reply.backend, reply.fallbacks) == ("third", ())
    assert reply.tokens == undisturbed[params].tokens


def test_weights_of_a_type_that_it_lacks_are_converted_and_the_person_is_told(tmp_path):
    model = write_tiny(tmp_path / "q.gguf", quant="q4_0", tokenizer="bytes")
    with Engine.open(model, backend=third()) as engine:
        (note,) = engine.ready.notes
        assert note == (
            "16 weights converted from Q4_0 to F16: Third 0 as asked has no kernel for them"
        )
        assert done(engine.generate(PROMPT, GREEDY, max_tokens=3)).backend == "third"


@pytest.mark.parametrize(
    ("kind", "place"),
    [*((kind, "token:3") for kind in ERRORS)]
    + [(kind, place) for place in PLACES for kind in ("BackendLost", "ZeroDivisionError")],
)
def test_whatever_it_raises_wherever_the_reply_is_the_same(open_engine, undisturbed, kind, place):
    engine = open_engine(third(FAULT=f"{kind}@{place}"))
    reply = done(engine.generate(PROMPT, GREEDY, max_tokens=11, stop_ids=()))
    *again, moved = reply.fallbacks
    assert (moved.source, moved.target, reply.backend) == ("third", "cpu", "cpu")
    shown = {"decode": 1, "token:3": 3}.get(place, 0)
    if kind in ("MemoryError", "BackendOutOfMemory"):  # it gets one more try, with less
        assert [(f.source, f.target, f.at_token) for f in again] == [("third", "third", shown)]
        shown *= 2
    else:
        assert again == []
    assert moved.at_token == shown
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
    assert f"Third 0 as asked computes {op}" in failed.checks[0].detail


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


def test_the_memory_that_a_model_needs_is_that_of_its_converted_weights(tmp_path):
    model = write_tiny(tmp_path / "q.gguf", quant="q4_0", tokenizer="bytes", context=512)
    with open_gguf(model) as file:
        graph = build_graph(file)
    in_the_file = sum(w.bytes for w in graph.distinct_weights()) + graph.state_bytes()
    with (
        Engine(model, backend=third(FREE=str(in_the_file)), fallback_to=[]) as engine,
        pytest.raises(NoBackend, match=r"has \d+ MiB free, and .* needs \d+ MiB: even a"),
    ):
        list(engine.load())


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("keep", "kept 1 tokens where it was told to keep 0"),
        ("rows", "returned 16 rows of logits, not 0"),
    ],
)
def test_a_breach_of_the_contract_is_the_backends_fault(open_engine, undisturbed, term, words):
    engine = open_engine(third(BREACH=term), patience=1)
    reply = done(engine.generate([*PROMPT], GREEDY, max_tokens=11, stop_ids=()))
    assert words in reply.fallbacks[0].reason
    assert reply.tokens == undisturbed[GREEDY].tokens


def test_a_device_is_chosen_of_the_backend_that_was_named_and_of_no_other(open_engine):
    failing = third(FAULT="BackendLost@open")
    named = replace(third(), name="other")
    engine = open_engine(failing, device="7", fallback_to=[named])
    assert (engine.backend, engine.device) == ("other", "Third 0")


def test_strict_says_which_backend_failed_and_how(open_engine):
    with pytest.raises(BackendUnsupported, match="third: BackendUnsupported in compile"):
        open_engine(third(FAULT="BackendUnsupported@compile"), strict=True)


@pytest.mark.parametrize(
    ("kv_type", "has", "kept", "told"),
    [
        (None, "f16 f32", "f16", None),
        (None, "f32", "f32", None),
        ("f32", "f16 f32", "f32", None),
        ("q8_0", "q8_0 f16", "f16", "the KV cache is kept in f16: q8_0 does not go here"),
        ("q8_0", "f32", "f32", "the KV cache is kept in f32: q8_0 does not go here"),
    ],
)
def test_the_cache_is_of_the_type_that_was_asked_for_if_the_backend_has_it(
    open_engine, undisturbed, kv_type, has, kept, told
):
    engine = open_engine(third(KV=has), kv_type=kv_type)
    assert engine.ready.notes == ((told,) if told else ())
    reply = done(engine.generate(PROMPT, GREEDY, max_tokens=11, stop_ids=()))
    assert reply.tokens == undisturbed[GREEDY].tokens  # this backend computes in float32
    assert f"a cache of {kept}" in engine.log_tail()


def test_a_cache_in_blocks_needs_heads_of_whole_blocks(tmp_path):
    model = write_tiny(tmp_path / "m.gguf", quant="f16", head_size=32, tokenizer="bytes")
    with Engine.open(model, backend=third(), kv_type="q8_0") as engine:
        assert engine.ready.notes == ()
        assert "a cache of q8_0" in engine.log_tail()


def test_a_cache_of_a_type_that_is_none_is_refused_before_anything_is_loaded(open_engine):
    with pytest.raises(UsageError, match="a KV cache of 'q4_0': known are f16, f32, q8_0"):
        open_engine(third(), kv_type="q4_0")
