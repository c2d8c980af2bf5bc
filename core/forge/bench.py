"""The benchmark behind `forge bench`: the engine, worker and sampler that a reply uses."""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from forge._version import __version__
from forge.engine import Engine
from forge.events import Done, Timings
from forge.sampling import SamplingParams


def bench(
    engine: Engine,
    prompt: int,
    decode: int,
    repetitions: int,
    depth: int = 0,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, object]:
    """Prefill `prompt` tokens from `depth`; then, cleared and after one token, decode `decode`.

    Rates in tokens a second, the median of `repetitions` after an uncounted one.
    """
    size = engine.tokenizer.size
    ids = [(i * 7919 + 11) % size for i in range(depth + max(prompt, 1))]
    prefills: list[float] = []
    decodes: list[float] = []
    for repetition in range(repetitions + 1):
        progress(f"repetition {repetition} of {repetitions}")
        if depth:
            _reply(engine, ids[:depth], 1, reuse=False)
        prefill = _reply(engine, ids[: depth + prompt], 1, reuse=depth > 0)
        if depth:
            _reply(engine, ids[:depth], 1, reuse=False)
        after = _reply(engine, ids[: depth + 1], decode + 1, reuse=depth > 0)
        if repetition:
            prefills.append(prefill.prefill_tok_s or 0.0)
            decodes.append(after.decode_tok_s or 0.0)
    return {
        "engine": f"forge {__version__}",
        "variant": engine.backend,
        "model": engine.model.name,
        "threads": threads or len(os.sched_getaffinity(0)),
        "prefill_tokens": prompt,
        "decode_tokens": decode,
        "depth": depth,
        "repetitions": repetitions,
        "prefill_tok_s": round(statistics.median(prefills), 2),
        "prefill_all": [round(rate, 2) for rate in prefills],
        "decode_tok_s": round(statistics.median(decodes), 2),
        "decode_all": [round(rate, 2) for rate in decodes],
        "backend": engine.backend,
        "device": engine.device,
        "load_s": round(engine.ready.load_s, 3),
        "peak_rss_mb": round(_peak_rss(engine.worker_pid), 1),
    }


def _reply(engine: Engine, tokens: Sequence[int], count: int, *, reuse: bool) -> Timings:
    greedy = SamplingParams(temperature=0)
    for event in engine.generate(tokens, greedy, max_tokens=count, stop_ids=(), reuse=reuse):
        if isinstance(event, Done):
            return event.timings
    return Timings()


def _peak_rss(worker: int | None) -> float:
    """Of host and worker together, in MB."""
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    try:
        status = Path(f"/proc/{worker}/status").read_text(encoding="ascii", errors="replace")
        total += (
            next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")) / 1000
        )
    except (OSError, StopIteration, ValueError):
        pass
    return total
