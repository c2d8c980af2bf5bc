"""The Vulkan backend against llama.cpp's on the same device and files, in one run.

    python benchmarks/vulkan_table.py MODEL.gguf ... [--peer llamacpp_peer.py] [--json FILE]

For each file: prefill and decode of `forge bench`, of llama.cpp's Vulkan build, and of that
without NV_cooperative_matrix2; then, loaded a second time and so from the page cache, the file's
bytes a second of loading alone, decoding deep in a context relative to the beginning, and the
worker's processor time of a token. llama.cpp takes a software device only if it is named:
GGML_VK_VISIBLE_DEVICES=0.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import description, markdown_table, processor_seconds

from forge import Done, Engine, Loading, SamplingParams, Token

Figures = dict[str, Any]

_PATIENCE = 600
"""Seconds, for one process that measures."""
_GREEDY = SamplingParams(temperature=0)
_NEAR = 128
"""Tokens in the context: the beginning, which a depth is compared with."""


def forge_bench(model: Path, asked: argparse.Namespace) -> Figures:
    """What `forge bench --json` says."""
    command = [sys.executable, "-P", "-m", "forge", "bench", "--json", "-b", "vulkan"]
    command += [f"-m{model}", f"-p{asked.p}", f"-n{asked.n}", f"-r{asked.r}"]
    if asked.device is not None:
        command += ["--device", asked.device]
    return _said(command, {})


def llama_cpp(model: Path, asked: argparse.Namespace, **env: str) -> Figures:
    """The same of llama.cpp."""
    command = [sys.executable, str(asked.peer), "bench", str(model), "--variant", asked.variant]
    return _said([*command, f"-p{asked.p}", f"-n{asked.n}", f"-r{asked.r}"], env)


def _said(command: Sequence[str], env: Mapping[str, str]) -> Figures:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
        env={**os.environ, **env},
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{command[2]} … ended with {done.returncode}: {done.stderr[-800:]}")
    found: Figures = json.loads(lines[-1])
    return found


def second_load(model: Path, asked: argparse.Namespace) -> Figures:
    """Phases of a load in seconds; then decoding near the beginning, deep, and its cost."""
    spent: defaultdict[str, float] = defaultdict(float)
    context = asked.depth + asked.n + 8
    choices = {"backend": "vulkan", "device": asked.device, "strict": True}
    with Engine(model, context=context, **choices) as engine:
        last, phase = time.monotonic(), "start"
        for event in engine.load():
            now, before = time.monotonic(), phase
            if isinstance(event, Loading):
                phase = _phase(before, event)
            allocated = (before, phase) == ("compile", "load")
            finished = isinstance(event, Loading) and event.done > 0
            spent[phase if finished or allocated else before] += now - last
            last = now
        size = model.stat().st_size
        found: Figures = {
            "device": engine.device,
            "bytes": size,
            "phases_s": {name: round(seconds, 3) for name, seconds in spent.items()},
            "load_gb_s": round(size / spent["load"] / 1e9, 3),
            "ready_s": round(engine.ready.load_s, 3),
        }
        for depth in (_NEAR, asked.depth):
            found[f"decode_at_{depth}"] = _decode(engine, depth, asked.n, asked.r)
        return found


def _phase(before: str, event: Loading) -> str:
    """Once known answers are checked, only compiling is something else."""
    if before.startswith("check"):
        return "check compile" if event.phase == "compile" else "check"
    return event.phase


def _decode(engine: Engine, depth: int, count: int, repetitions: int) -> Figures:
    """Median tokens a second and microseconds of processor time, of the worker and of the host."""
    size, worker = engine.tokenizer.size, engine.worker_pid
    if worker is None:
        raise RuntimeError("the worker is gone")
    prompt = [(i * 7919 + 11) % size for i in range(depth + 1)]
    clocks: dict[str, Callable[[], float]] = {
        "worker": lambda: processor_seconds(worker),
        "host": time.process_time,
    }
    rates: list[float] = []
    costs: dict[str, list[float]] = {name: [] for name in clocks}
    for repetition in range(repetitions + 1):
        before: dict[str, float] = {}
        made = 0
        for event in engine.generate(prompt, _GREEDY, max_tokens=count + 1, stop_ids=()):
            if isinstance(event, Token):
                made += 1
                if made == 1:
                    before = {name: clock() for name, clock in clocks.items()}
                elif made == count + 1:
                    for name, clock in clocks.items():
                        costs[name].append((clock() - before[name]) / count * 1e6)
            elif isinstance(event, Done):
                rates.append(event.timings.decode_tok_s or 0.0)
        if made != count + 1:
            raise RuntimeError(f"a reply of {made} tokens, not {count + 1}")
        if not repetition:  # it has read the prompt, and warmed up
            rates.clear()
            for each in costs.values():
                each.clear()
    return {
        "tok_s": round(statistics.median(rates), 2),
        "all": [round(rate, 2) for rate in rates],
        **{f"{name}_us": round(statistics.median(each), 1) for name, each in costs.items()},
    }


def measured(model: Path, asked: argparse.Namespace) -> Figures:
    """Everything about one file; what failed is told in its place."""
    steps: dict[str, Callable[[], Figures]] = {"forge": lambda: forge_bench(model, asked)}
    if asked.peer is not None:
        steps["llama_cpp"] = lambda: llama_cpp(model, asked)
        steps["llama_cpp_without_coopmat2"] = lambda: llama_cpp(
            model, asked, GGML_VK_DISABLE_COOPMAT2="1"
        )
    if asked.depth:
        steps["second_load"] = lambda: second_load(model, asked)
    found: Figures = {"model": model.name}
    for name, step in steps.items():
        start = time.monotonic()
        try:
            found[name] = step()
        except Exception as error:  # noqa: BLE001  # one failure must not cost the other figures
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        found[name]["wall_s"] = round(time.monotonic() - start, 1)
        print(f"{model.name} {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    return found


def _ratio(ours: Figures, theirs: Figures, name: str) -> str:
    if not ours.get(name) or not theirs.get(name):
        return "–"
    return f"{ours[name] / theirs[name]:.2f}×"


def _rates(found: Sequence[Figures]) -> str:
    """Prefill and decode of all three."""
    titles, rows = ["file"], []
    for verb in ("prefill", "decode"):
        titles += [f"{verb} tok/s", "llama.cpp", "ratio", "without coopmat2", "ratio"]
    for one in found:
        row = [one["model"]]
        ours = one["forge"]
        for name in ("prefill_tok_s", "decode_tok_s"):
            row.append(_shown(ours, name))
            for peer in ("llama_cpp", "llama_cpp_without_coopmat2"):
                theirs = one.get(peer, {})
                row += [_shown(theirs, name), _ratio(ours, theirs, name)]
        rows.append(row)
    return markdown_table(titles, rows)


def _loads(found: Sequence[Figures], depth: int) -> str:
    """Loading, depth and cost."""
    titles = ["file", "GB", "load s", "GB/s", "start, open s", "compile s", "check s"]
    titles += [f"decode at {_NEAR}", f"at {depth}", "share", "worker µs a token", f"at {depth}"]
    rows = []
    for one in found:
        second = one.get("second_load", {})
        if "error" in second or not second:
            rows.append([one["model"], second.get("error", "–")[:80], *["–"] * (len(titles) - 2)])
            continue
        spent = {**dict.fromkeys(("start", "open", "compile", "check"), 0.0), **second["phases_s"]}
        near, deep = second[f"decode_at_{_NEAR}"], second[f"decode_at_{depth}"]
        rows.append(
            [
                *(one["model"], f"{second['bytes'] / 1e9:.2f}", f"{spent['load']:.2f}"),
                *(f"{second['load_gb_s']:.2f}", f"{spent['start'] + spent['open']:.2f}"),
                f"{spent['compile'] + spent.get('check compile', 0.0):.2f}",
                *(f"{spent['check']:.2f}", near["tok_s"], deep["tok_s"]),
                f"{100 * deep['tok_s'] / max(near['tok_s'], 1e-9):.0f} %",
                *(near["worker_us"], deep["worker_us"]),
            ]
        )
    return markdown_table(titles, rows)


def _shown(figures: Figures, name: str) -> str:
    return f"{figures[name]:,.1f}" if name in figures else "–"


def main() -> int:
    """Print tables, after each file what was found of it; 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--peer", type=Path, help="llamacpp_peer.py")
    parser.add_argument("--variant", default="linux-x64-vulkan", help="llama.cpp's build")
    parser.add_argument("--device", help="as of forge bench")
    parser.add_argument("-p", type=int, default=512, help="prompt tokens")
    parser.add_argument("-n", type=int, default=128, help="decoded tokens")
    parser.add_argument("-r", type=int, default=5, help="repetitions, after one that warms up")
    parser.add_argument("--depth", type=int, default=4096, help="0 leaves the second load out")
    parser.add_argument("--json", type=Path, help="everything, written after each file")
    asked = parser.parse_args()
    found: list[Figures] = []
    for model in asked.models:
        found.append(measured(model, asked))
        if asked.json:
            everything = {"machine": description(), "files": found}
            asked.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    device = next((one["forge"]["device"] for one in found if "device" in one["forge"]), "–")
    print(f"{device}; {description()}; {asked.p} prefill / {asked.n} decode\n")
    print(_rates(found))
    if asked.depth:
        print(f"\n{_loads(found, asked.depth)}")
    parts = [part for one in found for part in one.values() if isinstance(part, dict)]
    return int(any("error" in part for part in parts))


if __name__ == "__main__":
    raise SystemExit(main())
