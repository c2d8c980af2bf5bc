"""A host that was killed in mid-reply accuses no device, even when the machine restarts next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from forge.state import Ledger, Machine

HOST = (
    "import sys\n"
    "from forge.past import Past\n"
    "from forge.sampling import SamplingParams\n"
    "from forge.spec import BackendSpec\n"
    "from forge.state import Ledger\n"
    "from forge.supervisor import Supervisor\n"
    "from forge.worker_options import WorkerOptions\n"
    "gpu = BackendSpec('gpu', 'forge_cpu.backend:CpuBackend')\n"
    "options = WorkerOptions(sys.argv[1], threads=1, remember=True)\n"
    "supervisor = Supervisor([gpu], options, past=Past(options, Ledger.open()))\n"
    "for event in supervisor.generate([1, 2, 3], SamplingParams(temperature=0), 9, []):\n"
    "    if type(event).__name__ == 'Token':\n"
    "        print(supervisor.runner.pid, flush=True)\n"
    "        sys.stdin.read(1)\n"
    "supervisor.close()\n"
)


class Later(Machine):
    """The machine after a restart."""

    boot = property(lambda _: "another boot")  # type: ignore[assignment]  # a name like any other


@pytest.fixture
def host(model):
    """A process in the middle of a reply; its worker's pid."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOST, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(process.stdout.readline())
    yield process, worker
    process.kill()
    process.communicate()


def janitors(state: str) -> list[int]:
    """Processes that a worker with this state folder left behind: their command line is its."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"FORGE_STATE={state}\0".encode() in environ and b"\0forge.worker\0" in command:
            found.append(int(folder.name))
    return found


def until(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def accusations() -> int:
    """What a start of forge makes of the state folder after the machine was restarted."""
    with closing(Ledger.open(machine=Later())) as ledger:
        ledger.recover()
        return len(ledger.quarantines())


def test_a_host_killed_in_mid_reply_and_a_restart_accuse_nobody(host) -> None:
    process, _ = host
    state = os.environ["FORGE_STATE"]
    assert len(janitors(state)) == 2  # the worker, and who stays behind
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not janitors(state))
    assert accusations() == 0


def test_a_machine_that_goes_down_with_all_its_processes_is_an_accusation(host) -> None:
    process, worker = host
    for pid in janitors(os.environ["FORGE_STATE"]):
        if pid != worker:
            os.kill(pid, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert accusations() == 1


def test_a_host_that_ends_in_good_order_leaves_nobody_behind(host) -> None:
    process, _ = host
    process.communicate("xxxxxxxxxxxx")
    assert process.returncode == 0
    until(lambda: not janitors(os.environ["FORGE_STATE"]))
    assert accusations() == 0
