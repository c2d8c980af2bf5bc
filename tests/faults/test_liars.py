"""Workers that speak nonsense: always a BackendError within the budget, and bounded memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from forge.errors import BackendError, BackendHung, BackendLost
from forge.events import Token
from forge.runner import Runner
from forge.spec import BackendSpec
from forge.testing import write_tiny

from .conftest import CPU, GREEDY

LIAR = Path(__file__).parent / "liar.py"
HELLO = ["Hello", 1]
OPENED = ["Opened", 1, {"name": "a device"}, []]
LOADED = ["Loaded", 2, 128, 256, []]
START = [HELLO, OPENED, LOADED]
READY = {"send": START}
ASKED = {"wait": "Generate"}
STARTED = ["Started", 3, 0]
NOISE = bytes(range(255, 0, -1)).hex()
SPEC = BackendSpec("liar", "no.module:Liar")


def frame_hex(body: bytes) -> str:
    return (len(body).to_bytes(4, "little") + body).hex()


DEEP = b"\x94\xa6Failed\x01\xa1a" + b"\x91" * 40_000
VAST = b"\x93\xa6Tokens\x03\xdd\xff\xff\xff\xff"

WHILE_LOADING = {
    "random bytes": [{"hex": NOISE}],
    "a huge length": [{"hex": "ffffffff"}],
    "a large frame that never ends": [{"hex": "ffff0f00" + "00" * 1000}],
    "half a length": [{"hex": "0100"}],
    "half a message": [{"hex": frame_hex(b"\x92\xa5Hello\x01")[:-4]}],
    "an empty frame": [{"hex": "00000000"}],
    "a message that nests deeply": [{"hex": frame_hex(DEEP)}],
    "a list with four thousand million entries": [{"hex": frame_hex(VAST)}],
    "a text that is no UTF-8": [{"hex": frame_hex(b"\x94\xa6Failed\x01\xa1a\xa2\xff\xfe")}],
    "an unknown message": [{"send": [["Surprise", 1]]}],
    "a field too many": [{"send": [[*HELLO, 5]]}],
    "nothing": [],
    "silence after hello": [{"send": [HELLO]}],
    "the end of its connection": [{"send": [HELLO]}, {"shut": True}],
    "hello twice": [{"send": [HELLO, HELLO]}],
    "opened before hello": [{"send": [OPENED]}],
    "opened twice": [{"send": [HELLO, OPENED, OPENED]}],
    "opened with a wrong number": [{"send": [HELLO, ["Opened", 7, {"name": "x"}, []]]}],
    "loaded before opened": [{"send": [HELLO, LOADED]}],
    "loaded with a wrong number": [{"send": [HELLO, OPENED, ["Loaded", 9, 128, 256, []]]}],
    "a negative context": [{"send": [HELLO, OPENED, ["Loaded", 2, -1, 256, []]]}],
    "no vocabulary": [{"send": [HELLO, OPENED, ["Loaded", 2, 128, 0, []]]}],
    "a vast vocabulary": [{"send": [HELLO, OPENED, ["Loaded", 2, 128, 2**40, []]]}],
    "a beat of a negative count": [{"send": [HELLO, OPENED, ["Beat", 2, "load", -1, 5, ""]]}],
    "a beat of an unknown phase": [{"send": [HELLO, OPENED, ["Beat", 2, "lunch", 1, 5, ""]]}],
    "a beat before opened": [{"send": [HELLO, ["Beat", 2, "load", 1, 5, ""]]}],
    "tokens before any request": [{"send": [HELLO, OPENED, ["Tokens", 2, [1]]]}],
    "a failure that names no error": [{"send": [HELLO, ["Failed", 1, "__doc__", "x"]]}],
    "a failure that names another class": [{"send": [HELLO, ["Failed", 1, "annotations", "x"]]}],
    "a failure that claims none is left": [{"send": [HELLO, ["Failed", 1, "NoBackend", "x"]]}],
    "a failure of another request": [{"send": [HELLO, ["Failed", 40, "BackendLost", "x"]]}],
}

IN_A_REPLY = {
    "random bytes": [{"hex": NOISE}],
    "half a message": [{"send": [STARTED]}, {"hex": "0a0000009300"}],
    "nothing": [],
    "another request's number": [{"send": [["Tokens", 4, [1]]]}],
    "an older request's number": [{"send": [["Tokens", 2, [1]]]}],
    "loaded again": [{"send": [LOADED]}],
    "hello again": [{"send": [HELLO]}],
    "a token beyond the vocabulary": [{"send": [STARTED, ["Tokens", 3, [256]]]}],
    "a token of a negative id": [{"send": [STARTED, ["Tokens", 3, [-1]]]}],
    "a token of a vast id": [{"send": [STARTED, ["Tokens", 3, [2**63]]]}],
    "more tokens than asked for": [{"send": [STARTED, ["Tokens", 3, [1] * 5]]}],
    "one token too many": [{"send": [STARTED, *[["Tokens", 3, [1]]] * 5]}],
    "tokens that are none": [{"send": [STARTED, ["Tokens", 3, []]]}],
    "a prefix longer than the prompt": [{"send": [["Started", 3, 3]]}],
    "a negative prefix": [{"send": [["Started", 3, -1]]}],
    "a beat of another total": [{"send": [STARTED, ["Beat", 3, "prefill", 1, 9, ""]]}],
    "a beat beyond its total": [{"send": [STARTED, ["Beat", 3, "prefill", 4, 3, ""]]}],
    "the same beat twice": [{"send": [STARTED, *[["Beat", 3, "prefill", 1, 3, ""]] * 2]}],
    "a beat of loading": [{"send": [STARTED, ["Beat", 3, "load", 1, 3, ""]]}],
    "a block of logits": [{"send": [STARTED, ["Block", 3, 0, 1]]}],
    "an unknown reason": [{"send": [STARTED, ["Finished", 3, "bored"]]}],
    "the end of its connection": [{"send": [STARTED]}, {"shut": True}],
    "beats without end": [{"repeat": ["Beat", 3, "prefill", 1, 3, ""]}],
    "an old request's beats without end": [{"repeat": ["Beat", 2, "load", 1, 3, ""]}],
    "tokens without end": [{"repeat": ["Tokens", 3, [1]]}],
}

IN_LOGITS = {
    "a block never written": [{"send": [["Block", 3, 0, 3]]}],
    "a block half written": [{"board": [0] * 1024}, {"send": [["Block", 3, 0, 3]]}],
    "the second block never written": [
        {"board": [0] * 1024},
        {"send": [["Block", 3, 0, 1]]},
        {"wait": "Next"},
        {"send": [["Block", 3, 1, 1]]},
    ],
    "a block of no rows": [{"send": [["Block", 3, 0, 0]]}],
    "a block of negative rows": [{"send": [["Block", 3, 0, -1]]}],
    "a block of more rows than tokens": [{"send": [["Block", 3, 0, 4]]}],
    "a block of vast rows": [{"send": [["Block", 3, 0, 2**31 - 1]]}],
    "a block that starts elsewhere": [{"send": [["Block", 3, 1, 1]]}],
    "the end before the last row": [{"send": [["Finished", 3, "stop"]]}],
    "nothing": [],
    "tokens": [{"send": [["Tokens", 3, [1]]]}],
}


@pytest.fixture
def lie(options):
    """Runners whose worker follows a script; killed when the test is over."""
    made: list[Runner] = []

    def lie(script) -> Runner:
        command = (sys.executable, str(LIAR), json.dumps(script))
        quick = {**options.seconds, "start": 0.5, "open": 0.1, "load": 0.1, "prefill": 0.1}
        made.append(Runner(SPEC, replace(options, command=command, seconds=quick)))
        return made[-1]

    yield lie
    for runner in made:
        assert runner.kill()


@pytest.fixture(autouse=True)
def memory_stays_small():
    """What the host holds at most grows by less than 40 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def load(runner: Runner) -> None:
    for _ in runner.ready(lambda: False):
        pass


@pytest.mark.parametrize("script", WHILE_LOADING.values(), ids=WHILE_LOADING)
def test_a_worker_that_lies_while_it_loads_is_a_failed_backend(script, lie) -> None:
    runner = lie(script)
    started = time.monotonic()
    with pytest.raises(BackendError):
        load(runner)
    assert time.monotonic() - started < 6  # the start's budget, and its first use's factor


@pytest.mark.parametrize("script", IN_A_REPLY.values(), ids=IN_A_REPLY)
def test_a_worker_that_lies_in_a_reply_is_a_failed_backend(script, lie) -> None:
    runner = lie([READY, ASKED, *script])
    load(runner)
    reply = runner.generate([1, 2, 3], GREEDY, 4, [], lambda: False)
    shown: list[int] = []
    with pytest.raises(BackendError):
        shown.extend(event.id for event in reply if isinstance(event, Token))
    assert len(shown) <= 4
    assert all(0 <= token < 256 for token in shown)


@pytest.mark.parametrize("script", IN_LOGITS.values(), ids=IN_LOGITS)
def test_a_worker_that_lies_about_logits_is_a_failed_backend(script, lie) -> None:
    runner = lie([READY, {"wait": "Evaluate"}, *script])
    load(runner)
    with pytest.raises(BackendError):
        list(runner.logits([1, 2, 3]))


def test_tokens_after_the_end_of_a_reply_fail_the_next_one(lie) -> None:
    answers = [STARTED, ["Tokens", 3, [1]], ["Finished", 3, "stop"], ["Tokens", 3, [2]]]
    runner = lie([READY, ASKED, {"send": answers}])
    load(runner)
    first = list(runner.generate([1], GREEDY, 4, [], lambda: False))
    assert first == [Token(1)]
    with pytest.raises(BackendLost, match="out of turn"):
        list(runner.generate([1], GREEDY, 4, [], lambda: False))


def test_answers_to_an_abandoned_request_are_dropped_until_its_end_and_no_longer(lie) -> None:
    late = [["Tokens", 3, [1]], ["Finished", 3, "cancelled"]]
    good = [["Started", 4, 0], ["Tokens", 4, [5]], ["Finished", 4, "stop"]]
    after = [["Started", 5, 0], ["Tokens", 3, [1]]]
    begun = {"send": [STARTED, ["Tokens", 3, [9]]]}
    runner = lie([READY, ASKED, begun, ASKED, {"send": [*late, *good]}, ASKED, {"send": after}])
    load(runner)
    abandoned = runner.generate([1], GREEDY, 4, [], lambda: False)
    assert next(abandoned) == Token(9)
    abandoned.close()
    assert list(runner.generate([1], GREEDY, 4, [], lambda: False)) == [Token(5)]
    with pytest.raises(BackendLost, match="out of turn"):
        list(runner.generate([1], GREEDY, 4, [], lambda: False))


def test_an_abandoned_request_cannot_go_on_for_ever(lie) -> None:
    runner = lie(
        [
            READY,
            ASKED,
            {"send": [STARTED, ["Tokens", 3, [9]]]},
            {"repeat": ["Beat", 3, "prefill", 1, 1, ""]},
        ]
    )
    load(runner)
    abandoned = runner.generate([1], GREEDY, 4, [], lambda: False)
    next(abandoned)
    abandoned.close()
    with pytest.raises(BackendLost, match="out of turn"):
        list(runner.generate([1], GREEDY, 4, [], lambda: False))


def test_a_large_request_to_a_worker_that_does_not_read_fails_within_its_budget(lie) -> None:
    runner = lie([READY, {"sleep": 60}])
    load(runner)
    started = time.monotonic()
    with pytest.raises(BackendHung, match="idle"):
        list(runner.generate([200] * 300_000, GREEDY, 4, [], lambda: False))
    assert time.monotonic() - started < 3


def test_a_large_request_can_be_cancelled_while_nobody_reads_it(lie) -> None:
    runner = lie([READY, {"sleep": 60}])
    load(runner)
    looks = iter([False] * 2)
    reply = runner.generate([200] * 300_000, GREEDY, 4, [], lambda: next(looks, True))
    with pytest.raises(StopIteration) as end:
        next(reply)
    assert end.value.value == "cancelled"
    assert not runner.usable  # half a message is out: nothing can follow it


def test_a_worker_that_waits_for_its_reader_does_not_block_a_large_request(
    supervise, tmp_path
) -> None:
    """A consumer leaves a long reply unread, so the worker waits in send: then a request comes."""
    model = write_tiny(tmp_path / "long.gguf", context=150_000, layers=1)
    supervisor = supervise(CPU, model=str(model), context=150_000)
    list(supervisor.load())
    runner = supervisor.runner
    held = runner.generate([1], GREEDY, 2000, [], lambda: False)
    for _ in range(3):
        next(held)
    time.sleep(1)  # some three hundred tokens fill the socket
    held.close()
    reply = runner.generate([200] * 140_000, GREEDY, 1, [], lambda: False)
    next(reply)
    reply.close()
    assert runner.usable
