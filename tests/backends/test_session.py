"""A conversation over a real model: resumed, forked, answered again, and counted."""

from __future__ import annotations

import pytest

from forge import ChatTemplate, ContextOverflow, Engine, SamplingParams, Session, UsageError
from forge.events import Text, Token

from .conftest import GREEDY, done

SKY = "Why is the sky blue?"


@pytest.fixture(scope="module")
def engine(model):
    with Engine.open(model, backend="cpu") as engine:
        yield engine


@pytest.fixture(scope="module")
def ascii_only(engine):
    """Parameters under which a random model writes text, which survives being saved."""
    pieces = [engine.tokenizer.piece(token) for token in range(engine.tokenizer.size)]
    banned = {t: float("-inf") for t, piece in enumerate(pieces) if not piece.isalpha()}
    return SamplingParams(temperature=0, logit_bias=banned)


def test_a_resumed_conversation_goes_on_where_the_saved_one_ended(engine, ascii_only):
    left = engine.chat("Be short.")
    done(left.send(SKY, ascii_only, max_tokens=6))
    resumed = engine.chat(messages=left.messages)
    assert resumed.messages == left.messages
    assert resumed.messages[0] is not left.messages[0]
    texts = [engine.tokenizer.decode(s.prompt("Go on."), special=True) for s in (left, resumed)]
    assert texts[0] == texts[1]
    answer = done(resumed.send("Go on.", ascii_only, max_tokens=6))
    assert [m["role"] for m in resumed.messages] == ["system", *["user", "assistant"] * 2]
    assert resumed.messages[-1]["content"] == answer.text
    assert len(left.messages) == 3


def test_a_second_system_prompt_is_refused(engine):
    session = engine.chat("Be short.")
    with pytest.raises(UsageError, match="begin with a system prompt"):
        Session(engine, "Be long.", session.messages)


def test_the_prompt_of_the_next_turn_repeats_the_very_tokens_of_the_last_one(engine):
    session = engine.chat()
    before = session.prompt(SKY)
    reply = done(session.send(SKY, GREEDY, max_tokens=9))
    after = session.prompt("And at night?")
    assert reply.prompt_tokens == len(before)
    assert after[: len(before) + 9] == [*before, *reply.tokens]
    assert session.tokens[: len(before) + 9] == after[: len(before) + 9]
    assert len(session.tokens) < len(after)


def test_an_empty_conversation_takes_no_place_and_a_resumed_one_takes_its_own(engine):
    assert engine.chat().tokens == []
    session = engine.chat()
    done(session.send(SKY, GREEDY, max_tokens=4))
    again = engine.chat(messages=session.messages)
    text = engine.template.render(session.messages, add_generation_prompt=False)
    assert again.tokens == engine.tokenizer.encode(text, special=True)


def test_a_reply_made_again_takes_the_place_of_the_last_from_the_same_prompt(engine):
    session = engine.chat()
    first = done(session.send(SKY, SamplingParams(seed=1, temperature=2), max_tokens=8))
    events = list(session.regenerate(SamplingParams(seed=2, temperature=2), max_tokens=8))
    second = done(events)
    assert second.prompt_tokens == first.prompt_tokens
    assert second.text != first.text
    assert session.messages == [
        {"role": "user", "content": SKY},
        {"role": "assistant", "content": second.text},
    ]
    same = done(session.regenerate(SamplingParams(seed=1, temperature=2), max_tokens=8))
    assert same.tokens == first.tokens


def test_a_question_that_was_saved_without_an_answer_can_be_answered(engine):
    session = engine.chat(messages=[{"role": "user", "content": SKY}])
    answer = done(session.regenerate(GREEDY, max_tokens=5))
    assert session.messages[1:] == [{"role": "assistant", "content": answer.text}]
    assert answer.tokens == done(engine.chat().send(SKY, GREEDY, max_tokens=5)).tokens


def test_there_is_nothing_to_answer_again_in_an_empty_conversation(engine):
    for session in (engine.chat(), engine.chat("Be short.")):
        with pytest.raises(UsageError, match="nothing to answer again"):
            next(session.regenerate())


def test_a_fork_goes_its_own_way_and_keeps_the_tokens_they_share(engine):
    session = engine.chat()
    done(session.send(SKY, GREEDY, max_tokens=6))
    done(session.send("And at night?", GREEDY, max_tokens=6))
    kept, tokens = [dict(m) for m in session.messages], session.tokens
    branch = session.fork(2)
    assert branch.messages == kept[:2]
    assert session.tokens[: len(branch.tokens)] == branch.tokens
    done(branch.send("And at dawn?", GREEDY, max_tokens=6))
    assert (session.messages, session.tokens) == (kept, tokens)
    whole = session.fork()
    done(whole.regenerate(SamplingParams(seed=3, temperature=3), max_tokens=6))
    assert (session.messages, session.tokens) == (kept, tokens)


def test_a_stop_string_is_neither_in_the_text_nor_in_the_tokens_that_the_next_turn_has(
    engine, ascii_only
):
    whole = done(engine.chat().send(SKY, ascii_only, max_tokens=12))
    stop = whole.text[4:6]
    session = engine.chat()
    cut = done(session.send(SKY, ascii_only, max_tokens=12, stop=[stop]))
    assert cut.finish_reason == "stop"
    assert stop not in cut.text
    prompt = session.prompt("Go on.")
    expected = engine.template.render([*session.messages, {"role": "user", "content": "Go on."}])
    assert engine.tokenizer.decode(prompt, special=True) == expected


def test_a_reply_that_its_reader_left_stays_as_far_as_it_came(engine):
    session = engine.chat()
    events = session.send(SKY, GREEDY, max_tokens=20)
    said = [next(e for e in events if isinstance(e, Token)) for _ in range(3)]
    text = "".join(e.text for e in [next(events)] if isinstance(e, Text))
    events.close()
    assert len(said) == 3
    assert session.messages[1]["role"] == "assistant"
    assert text in session.messages[1]["content"]


def test_a_question_that_does_not_fit_leaves_the_conversation_as_it_was(engine):
    session = engine.chat()
    done(session.send(SKY, GREEDY, max_tokens=4))
    before, tokens = list(session.messages), session.tokens
    with pytest.raises(ContextOverflow, match="512"):
        list(session.send("word " * 600, GREEDY))
    assert (session.messages, session.tokens) == (before, tokens)
    assert done(session.send("Go on.", GREEDY, max_tokens=4)).tokens


def test_the_templates_own_variables_reach_it(model):
    with Engine(model, backend="cpu") as engine:
        source = "{{ mood }}: {% for m in messages %}{{ m.content }}{% endfor %}"
        engine.template = ChatTemplate(source, bos_token="", eos_token="")
        session = engine.chat(messages=[{"role": "user", "content": "Hi."}], mood="glad")
        assert engine.tokenizer.decode(session.fork().prompt(" You?")) == "glad: Hi. You?"
