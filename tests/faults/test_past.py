"""What one process learned of a backend, the next one knows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from forge import Engine
from forge.budgets import Budgets
from forge.errors import BackendUnavailable
from forge.events import Loading, Prefill, Token
from forge.past import Past
from forge.process import WorkerProcess
from forge.runner import Runner
from forge.spec import BackendSpec
from forge.state import Ledger, Machine
from forge.supervisor import Supervisor
from forge.testing import write_tiny
from forge.testing.faulty import faulty

from .conftest import COUNT, CPU, GREEDY, Reply, ask

GPU = replace(CPU, name="gpu", floor=False)
"""The CPU backend in a role that has a device to lose."""


@pytest.fixture
def process(options) -> Iterator:
    """A supervisor as a new process of forge has it, with what is in the state folder."""
    made: list[Supervisor] = []

    def process(*specs: BackendSpec, strict: bool = False, standby: bool = False, **changes):
        changed = replace(options, **changes)
        past = Past(changed, Ledger.open())
        made.append(Supervisor(specs, changed, strict=strict, past=past, standby=standby))
        return made[-1]

    yield process
    for supervisor in made:
        supervisor.close()


def phases(reply: Reply) -> list[str]:
    """Of loading, each once, in order."""
    found = [event.phase for event in reply.events if isinstance(event, Loading)]
    return list(dict.fromkeys(found))


def test_a_backend_that_hung_is_not_started_again_until_that_is_cleared(
    process, undisturbed
) -> None:
    hung = faulty("gpu", of=CPU, fault="hang", phase="decode", step=3)
    first = ask(process(hung, CPU))
    assert [(f.source, f.target, f.tried) for f in first.fallbacks] == [("gpu", "cpu", True)]

    again = ask(process(hung, CPU))
    (fallback,) = again.fallbacks
    assert (fallback.source, fallback.tried, fallback.at_token) == ("gpu", False, 0)
    assert "no progress" in fallback.reason
    assert "forge quarantine clear" in fallback.reason
    assert {e.backend for e in again.events if isinstance(e, Loading)} == {"cpu"}
    assert again.tokens == first.tokens == undisturbed(GREEDY)

    with closing(Ledger.open()) as ledger:
        assert ledger.clear("gpu") == 1
    assert [f.tried for f in ask(process(hung, CPU)).fallbacks] == [True]


def test_another_setting_of_a_backend_that_hung_is_another_try(process) -> None:
    ask(process(faulty("gpu", of=CPU, fault="hang", phase="decode"), CPU))
    reply = ask(process(replace(GPU, env={"HSA_ENABLE_SDMA": "0"}), CPU))
    assert reply.fallbacks == []


@pytest.mark.parametrize("fault", ["abort", "lost", "nan", "exception"])
def test_whatever_ends_a_backend_keeps_the_next_start_from_walking_into_it(fault, process) -> None:
    bad = faulty("gpu", of=CPU, fault=fault, phase="prefill")
    assert [f.tried for f in ask(process(bad, CPU)).fallbacks] == [True]
    assert [f.tried for f in ask(process(bad, CPU)).fallbacks] == [False]


def test_a_worker_that_somebody_killed_accuses_no_device(process) -> None:
    def strike(event, reply) -> None:
        if isinstance(event, Token) and len(reply.tokens) == 3:
            os.kill(supervisor.runner.pid, signal.SIGKILL)

    slow = faulty("gpu", of=CPU, fault="slow", phase="decode", seconds=0.03)
    supervisor = process(slow, CPU)
    (fallback,) = ask(supervisor, on_event=strike).fallbacks
    assert "SIGKILL, not by forge" in fallback.reason
    assert ask(process(slow, CPU)).fallbacks == []


def test_strict_says_why_a_backend_in_quarantine_is_not_used(process) -> None:
    bad = faulty("gpu", of=CPU, fault="abort", phase="decode")
    ask(process(bad, CPU))
    with pytest.raises(BackendUnavailable, match=r"in quarantine since .*SIGABRT") as caught:
        ask(process(bad, CPU, strict=True))
    assert caught.value.exit_code == 3


def test_known_answers_come_before_the_weights_the_first_time_alone(process) -> None:
    assert phases(ask(process(GPU, CPU))) == ["open", "compile", "check", "load"]
    assert phases(ask(process(GPU, CPU)))[:2] == ["open", "load"]
    assert phases(ask(process(CPU)))[:2] == ["open", "load"]  # a floor has nothing to prove


def test_a_device_that_computes_wrongly_is_given_no_weights(process) -> None:
    wrong = faulty("gpu", of=CPU, fault="wrong", phase="check")
    reply = ask(process(wrong, CPU))
    assert "wrongly" in reply.fallbacks[0].reason
    loaded = [e.backend for e in reply.events if isinstance(e, Loading) and e.phase == "load"]
    assert set(loaded) == {"cpu"}


def test_a_record_tells_where_a_worker_hung(process) -> None:
    hung = faulty("gpu", of=CPU, fault="hang", phase="decode", step=3)
    (fallback,) = ask(process(hung, CPU)).fallbacks
    record = json.loads(Path(fallback.record).read_text("utf-8"))
    assert record["kind"] == "BackendHung"
    assert (record["backend"], record["phase"], record["tokens"]) == ("gpu", "decode", 3)
    assert record["age_s"] >= record["budget_s"] > 0
    assert "forge/testing/damage.py" in record["stack"]
    assert record["threads"]


def test_a_host_that_was_killed_in_mid_reply_accuses_nobody_and_is_probed(process, model) -> None:
    ask(process(GPU, CPU))
    script = (
        "import os, signal, sys\n"
        "from dataclasses import replace\n"
        "from forge.past import Past\n"
        "from forge.sampling import SamplingParams\n"
        "from forge.spec import BackendSpec\n"
        "from forge.state import Ledger\n"
        "from forge.supervisor import Supervisor\n"
        "from forge.worker_options import WorkerOptions\n"
        "gpu = BackendSpec('gpu', 'forge_cpu.backend:CpuBackend')\n"
        "options = WorkerOptions(sys.argv[1], threads=1)\n"
        "supervisor = Supervisor([gpu], options, past=Past(options, Ledger.open()))\n"
        "for event in supervisor.generate([1, 2, 3], SamplingParams(temperature=0), 9, []):\n"
        "    if type(event).__name__ == 'Token': os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script, str(model)], check=False, timeout=40)
    assert done.returncode == -signal.SIGKILL
    reply = ask(process(GPU, CPU))
    assert reply.fallbacks == []
    assert phases(reply) == ["open", "compile", "check", "load"]


class Before(Machine):
    """The machine, before it was started anew."""

    boot = property(lambda _: "another boot")  # type: ignore[assignment]  # a name like any other


def test_a_machine_that_went_down_in_mid_reply_keeps_the_next_boot_from_it(process) -> None:
    supervisor = process(GPU, CPU)
    ask(supervisor)
    key = supervisor._past.key(GPU)  # the combination as it was at work
    with closing(Ledger.open(machine=Before())) as before:
        before.mark(key, "decode")
    (fallback,) = ask(process(GPU, CPU)).fallbacks
    assert not fallback.tried
    assert "the machine went down while it wrote a reply" in fallback.reason


class Stuck(WorkerProcess):
    """A process that no signal reaches, as one in uninterruptible sleep: the driver's edge."""

    reachable = False

    def kill(self, seconds: float) -> bool:
        if Stuck.reachable:
            return super().kill(seconds)
        return False


def test_a_worker_that_no_signal_reaches_keeps_every_backend_off_its_device(process) -> None:
    hung = faulty("gpu", of=CPU, fault="hang", phase="decode", step=2)
    twin = replace(GPU, name="twin")
    ask(process(twin))  # now it is known which device that is
    Stuck.reachable = False
    supervisor = process(hung, twin, CPU, process=Stuck)
    try:
        reply = ask(supervisor)
        assert [(f.source, f.target) for f in reply.fallbacks] == [("gpu", "twin"), ("twin", "cpu")]
        assert [f.tried for f in reply.fallbacks] == [True, False]
        assert "stuck in its driver" in reply.fallbacks[1].reason
        assert len(reply.tokens) == COUNT
        later = ask(process(twin, CPU))
        assert [f.tried for f in later.fallbacks] == [False]
    finally:
        Stuck.reachable = True
        supervisor.close()
    end = time.monotonic() + 10
    while ask(process(twin, CPU)).fallbacks:  # until the process is gone
        assert time.monotonic() < end


def test_where_memory_ran_out_a_backend_gets_one_more_try_with_less(process) -> None:
    short = faulty("gpu", of=CPU, fault="oom", phase="load")
    reply = ask(process(short, CPU, context=None))
    assert [(f.source, f.target) for f in reply.fallbacks] == [("gpu", "gpu"), ("gpu", "cpu")]
    assert ask(process(short, CPU)).fallbacks[0].tried  # no device is accused of it


def test_what_is_loaded_where_memory_ran_out_is_less_but_holds_the_reply(options, tmp_path) -> None:
    path = write_tiny(tmp_path / "long.gguf", context=4096)
    more = replace(options, model=str(path))
    for least, context in ((0, 4096), (50, 2048), (3000, 3000)):
        runner = Runner(CPU, more, least=least)
        list(runner.ready(lambda: False))
        assert runner.context == context
        assert ("to save memory" in " ".join(runner.ready_info.notes)) is (least > 0)
        chunks = [e.done for e in generated(runner) if isinstance(e, Prefill)]
        assert chunks == ([32, 64, 90] if least else [90])
        runner.close()


def generated(runner: Runner):
    return list(runner.generate(list(range(3, 93)), GREEDY, 2, [], lambda: False))


def test_a_pace_that_was_seen_makes_the_next_process_patient(process, options) -> None:
    slow = faulty("gpu", of=CPU, fault="slow", phase="decode", seconds=0.1)
    ask(process(slow, CPU, patience=10))
    hasty = {**options.seconds, "decode": 0.01}
    supervisor = process(slow, CPU, seconds=hasty)
    reply = ask(supervisor)
    assert reply.fallbacks == []
    budgets = Budgets(1.0, hasty)
    budgets.paces = supervisor._past.paces(slow)("0")  # as the next worker has them
    assert 0.8 <= budgets.seconds("decode") <= 20 * 0.2


def test_a_standby_goes_on_without_loading(process, undisturbed) -> None:
    hung = faulty("gpu", of=CPU, fault="hang", phase="decode", step=3)
    supervisor = process(hung, CPU, standby=True)
    list(supervisor.load())
    pid = supervisor.standby.pid
    reply = ask(supervisor)
    assert reply.tokens == undisturbed(GREEDY)
    assert [f.target for f in reply.fallbacks] == ["cpu"]
    assert supervisor.runner.pid == pid


def test_an_engine_tells_which_of_its_backends_are_left_alone(tmp_path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf", tokenizer="bytes", context=256)
    bad = faulty("gpu", of=CPU, fault="abort", phase="open")
    statuses = []
    for _ in range(2):
        with Engine(model, backend=bad, fallback_to=[CPU]) as engine:
            statuses.append([health.status for health in engine.health()])
            list(engine.load())
            statuses.append([health.status for health in engine.health()])
    assert statuses == [
        ["untried", "untried"],
        ["failed", "ready"],
        ["quarantined", "untried"],
        ["quarantined", "ready"],
    ]


def test_a_standby_loads_to_the_end_while_another_backend_replies(process, tmp_path) -> None:
    path = write_tiny(tmp_path / "deep.gguf", context=256, layers=60)  # more beats than wait unread
    hung = faulty("gpu", of=CPU, fault="slow", phase="decode", seconds=0.05)
    supervisor = process(hung, CPU, standby=True, model=str(path), patience=20)
    list(supervisor.load())
    ask(supervisor, count=100)
    end = time.monotonic() + 20
    while b"Loaded" not in supervisor.standby._channel._assembler._bytes:
        assert time.monotonic() < end
        ask(supervisor, count=20)
