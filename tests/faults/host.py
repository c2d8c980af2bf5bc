"""A host process that replies on its own: `host.py MODEL WHAT [FAULT PHASE]`; its tests strike it.

Prints one line per event, so that a test knows how far it is: `pid N` of the first worker, then
`EVENT PHASE` for each event, then `done REASON FALLBACKS`.
WHAT it does: close, leave (without closing) or raise at the end; patient has budgets of a minute.
"""

import sys

from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.supervisor import Supervisor
from forge.testing.faulty import faulty
from forge.worker_options import WorkerOptions

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
SECONDS = {"start": 2.0, "decode": 0.4, "prefill": 0.4}


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(model: str, what: str, fault: str = "slow", phase: str = "decode") -> None:
    patient = what == "patient"
    spec = faulty("cpu", of=CPU, fault=fault, phase=phase, step=1, seconds=0.05, floor=True)
    seconds = {**dict.fromkeys(("open", "load", "compile", "check"), 60.0), **SECONDS}
    seconds = dict.fromkeys(seconds, 60.0) if patient else seconds
    supervisor = Supervisor([spec], WorkerOptions(model, threads=1, seconds=seconds))
    supervisor.spawn()
    say("pid", supervisor.runner.pid)
    fallbacks = 0
    events = supervisor.generate([1, 2, 3], SamplingParams(temperature=0), 30, [])
    try:
        while True:
            event = next(events)
            name = type(event).__name__
            fallbacks += name == "Fallback"
            say(name, getattr(event, "phase", ""))
    except StopIteration as end:
        say("done", end.value, fallbacks)
    if what == "raise":
        raise RuntimeError("a host with a bug")
    if what != "leave":
        supervisor.close()


main(*sys.argv[1:])
