"""A process of forge that kills itself: `host.py MODEL PHASE`; prints its worker's pid."""

import os
import signal
import sys

from forge.events import Loading, Prefill, Ready, Token
from forge.past import Past
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.supervisor import Supervisor
from forge.worker_options import WorkerOptions


def reached(event: object, phase: str) -> bool:
    """Whether the worker is at the phase by now."""
    match event:
        case Loading(phase="open"):
            return phase == "open"
        case Loading(phase="load"):
            return phase == ("compile" if 1 < event.total == event.done else "load")
        case Ready() | Prefill():
            return phase == "prefill"
        case Token():
            return phase == "decode"
    return False


def end() -> None:
    sys.stdout.write(f"{supervisor.runner.pid}\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


model, phase = sys.argv[1:]
gpu = BackendSpec("gpu", "forge_cpu.backend:CpuBackend")
options = WorkerOptions(model, threads=1)
supervisor = Supervisor([gpu], options, past=Past(options, Ledger.open()))
supervisor.spawn()
if phase == "start":
    end()
for event in supervisor.generate([1, 2, 3], SamplingParams(temperature=0), 9, []):
    if reached(event, phase):
        end()
end()
