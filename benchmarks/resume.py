"""From the moment of a hang in mid-reply to the next token on the CPU, and its parts.

    python benchmarks/resume.py MODEL [-r 5] [--at 24] [--prompt 400] [--standby] [--json]

A backend that computes as the CPU backend does stops for good at a token (`forge.testing.faulty`:
it sleeps, and ignores SIGTERM). The machine is warmed: one reply teaches the watchdog the pace of
decode before anything is measured. Parts, in seconds: the budget (silence until the watchdog acts),
giving up (what was found out, the kill, the record), start and open of the next worker, load, known
answers, replay of the prompt and of the tokens shown, the next token. With --standby a worker of
the next backend holds the model already.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from forge import Engine
from forge.errors import BackendError
from forge.events import Fallback, Loading, Prefill, Ready, Token
from forge.plugins import Plugins
from forge.sampling import SamplingParams
from forge.testing.faulty import faulty

PARTS = ("budget", "give up", "start and open", "load", "check", "replay", "token")


def measure(model: Path, at: int, prompt: int, *, standby: bool) -> dict[str, float]:
    """One hang, in a state folder of its own that knows the pace of decode."""
    cpu = Plugins().backend("cpu")
    slow = faulty("gpu", of=cpu, fault="slow", phase="decode", step=10**6)
    hung = faulty("gpu", of=cpu, fault="hang", phase="decode", step=at)
    tokens = [(7919 * i + 11) % 4096 for i in range(prompt)]
    greedy = SamplingParams(temperature=0)
    with Engine.open(model, backend=slow, fallback_to=[cpu]) as engine:
        list(engine.generate(tokens, greedy, max_tokens=max(at, 64), stop_ids=()))
    stamps: dict[str, float] = {}
    with Engine.open(model, backend=hung, fallback_to=[cpu], standby=standby) as engine:
        if standby:
            time.sleep(3)  # it loads beside the first
        last = moved = 0.0
        for event in engine.generate(tokens, greedy, max_tokens=at + 8, stop_ids=()):
            now = time.monotonic()
            match event:
                case Fallback():
                    moved, stamps["moved"] = now, now
                    record = json.loads(Path(event.record).read_text("utf-8"))
                    stamps["budget"] = record["age_s"]
                case Loading(phase=phase) if moved:
                    stamps[phase] = now
                case Ready() if moved:
                    stamps["ready"] = now
                case Prefill() if moved:
                    stamps["replay"] = now
                case Token() if moved:
                    stamps["token"] = now
                    break
                case Token():
                    last = now
    if "token" not in stamps:
        raise BackendError("the reply never moved")
    ready = stamps.get("ready", stamps["moved"])
    load = stamps.get("load", ready)
    return {
        "budget": stamps["budget"],
        "give up": stamps["moved"] - last - stamps["budget"],
        "start and open": stamps.get("open", stamps["moved"]) - stamps["moved"],
        "load": max(0.0, load - stamps.get("open", load)),
        "check": ready - load,
        "replay": stamps["replay"] - ready,
        "token": stamps["token"] - stamps["replay"],
        "beyond the budget": stamps["token"] - last - stamps["budget"],
    }


def main() -> None:
    """Print the median of each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("--at", type=int, default=24, help="tokens shown before it hangs")
    parser.add_argument("--prompt", type=int, default=400, help="tokens of the prompt")
    parser.add_argument("--standby", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(args.repetitions):
            os.environ["FORGE_STATE"] = f"{folder}/{repetition}"
            runs.append(measure(args.model, args.at, args.prompt, standby=args.standby))
    medians = {part: statistics.median(run[part] for run in runs) for part in runs[0]}
    if args.json:
        print(json.dumps({"runs": runs, "median": medians}))
        return
    for part, seconds in medians.items():
        every = " ".join(f"{run[part]:.3f}" for run in runs)
        print(f"{part:20} {seconds:7.3f} s   ({every})")


if __name__ == "__main__":
    main()
