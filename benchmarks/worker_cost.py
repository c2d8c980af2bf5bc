"""What supervision costs: worker_cost.py MODEL.gguf ... [-n 128] [-r 7] [-t 2]

Decoding through the engine, its worker and its pipe, against the same backend called in this
process, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from machine import description, markdown_table

from forge import Done, Engine, SamplingParams
from forge.backend import BackendConfig
from forge.gguf import open_gguf
from forge.messages import Load
from forge.sampling import Sampler
from forge.worker.loader import load_model
from forge.worker.model import LoadedModel
from forge_cpu.backend import CpuBackend

GREEDY = SamplingParams(temperature=0)


def supervised(engine: Engine, prompt: list[int], count: int) -> float:
    """Tokens a second, from the first token to the last."""
    for event in engine.generate(prompt, GREEDY, max_tokens=count, stop_ids=(), reuse=False):
        if isinstance(event, Done):
            return event.timings.decode_tok_s or 0.0
    raise SystemExit("the reply did not end")


def in_process(model: LoadedModel, prompt: list[int], count: int) -> float:
    """The same."""
    model.forget()
    reply = model.generate(prompt, count, (), Sampler(GREEDY.resolved(), prompt), lambda _: None)
    times = [time.perf_counter() for token in reply if isinstance(token, int)]
    return (len(times) - 1) / (times[-1] - times[0])


def ratios(path: Path, count: int, repetitions: int, threads: int) -> list[tuple[float, float]]:
    """Rates of both, pair by pair."""
    context = count + 16
    prompt = [7919 * i % 997 + 1 for i in range(8)]
    found = []
    backend = CpuBackend(BackendConfig(threads=threads))
    with (
        open_gguf(path) as file,
        Engine.open(path, backend="cpu", context=context, threads=threads) as engine,
    ):
        request = Load(1, str(path).encode(), context, None)
        model = load_model(backend, file, request, lambda *_: None)
        for number in range(repetitions + 1):
            calls = [
                lambda: supervised(engine, prompt, count),
                lambda: in_process(model, prompt, count),
            ]
            if number % 2:
                second, first = calls[1](), calls[0]()
            else:
                first, second = calls[0](), calls[1]()
            if number:  # the first pair warms up
                found.append((first, second))
        model.executable.close()
        backend.close()
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("-n", type=int, default=128, help="tokens decoded")
    parser.add_argument("-r", type=int, default=7, help="pairs")
    parser.add_argument("-t", type=int, default=2, help="threads")
    asked = parser.parse_args()
    rows: list[list[object]] = []
    for path in asked.models:
        pairs = ratios(path, asked.n, asked.r, asked.t)
        costs = [100 * (1 - ours / bare) for ours, bare in pairs]
        ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
        every = " ".join(f"{cost:.1f}" for cost in costs)
        cost = f"{statistics.median(costs):.1f} % ({every})"
        rows.append([path.name, f"{ours:.1f}", f"{bare:.1f}", cost])
    print(f"{description()}\n")
    print(markdown_table(["model", "supervised tok/s", "in-process", "cost (pairs)"], rows))


if __name__ == "__main__":
    main()
