"""What an engine and a survey say of their backends."""

import pytest

from forge import BackendSpec, Engine, Token, list_backends
from forge.errors import NoBackend

from .conftest import CPU, GREEDY, done, third

ABSENT = BackendSpec("absent", "m:C", requires=("no_such_module",), install="absent-llm")


def statuses(engine):
    return {health.backend: health.status for health in engine.health()}


def test_an_engine_knows_which_backend_answers_and_which_it_never_needed(model):
    with Engine(model, backend=third(), fallback_to=[ABSENT, CPU]) as engine:
        assert statuses(engine) == {"third": "untried", "cpu": "untried", "absent": "unavailable"}
        assert engine.log_tail() == ""
        list(engine.load())
        assert statuses(engine) == {"third": "ready", "cpu": "untried", "absent": "unavailable"}
        (ready, _, absent) = engine.health()
        assert ready.device == engine.device
        assert absent.checks[0].advice == "pip install 'absent-llm'"


def test_an_engine_knows_why_a_backend_failed(model):
    with Engine.open(
        model, backend=third(FAULT="BackendLost@token:2"), fallback_to=[CPU]
    ) as engine:
        assert statuses(engine) == {"third": "ready", "cpu": "untried"}
        done(engine.generate([60, 61], GREEDY, max_tokens=5, stop_ids=()))
        (failed, ready) = engine.health()
        assert (failed.status, ready.status) == ("failed", "ready")
        assert failed.checks[0].detail == "BackendLost in token"
        assert not failed.checks[0].ok


def test_an_engine_that_no_backend_is_left_for_says_so_of_each(model):
    with Engine(model, backend=third(FAULT="BackendLost@open"), fallback_to=[]) as engine:
        with pytest.raises(NoBackend, match="third: BackendLost in open"):
            list(engine.load())
        assert statuses(engine) == {"third": "failed"}


def test_a_survey_opens_each_backend_and_tells_unavailable_from_failed():
    faults = ("BackendUnavailable@open", "BackendLost@open", "ZeroDivisionError@checks", "")
    found = list(list_backends([*(third(FAULT=fault) for fault in faults), ABSENT]))
    assert [health.status for health in found] == [
        "unavailable",
        "failed",
        "failed",
        "ready",
        "unavailable",
    ]
    assert found[1].checks[0].detail == "BackendLost in open"
    assert found[3].device == "Third 0 as asked"
    assert [check.advice for check in found[3].checks] == ["keep it so"]
    assert [device.id for device in found[3].devices] == ["0", "1"]


def test_the_watchdog_tells_what_it_waits_for_while_there_is_work(model):
    with Engine(model, backend=third(), fallback_to=[], remember=False) as engine:
        assert engine.watch() is None
        seen = [engine.watch() for _ in engine.load()]
        assert [watch.phase for watch in seen[:2]] == ["open", "load"]
        assert engine.watch() is None
        assert engine.health()[0].checks[0].detail == "imaginary"
        for event in engine.generate([60, 61], GREEDY, max_tokens=3, stop_ids=()):
            watch = engine.watch()
            if isinstance(event, Token):
                assert (watch.backend, watch.phase) == ("third", "decode")
                assert 0 <= watch.age_s < watch.budget_s
        assert engine.watch() is None


def test_a_survey_of_nothing_in_particular_is_of_all_that_is_there():
    assert [(health.backend, health.status) for health in list_backends()] == [("cpu", "ready")]
