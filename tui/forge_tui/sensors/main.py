"""Answers each line of standard input with the gauges, until there are no more lines.

A question is `{"pid": 42, "skip": ["gpu 0000:03:00.0"]}`: the worker's process, 0 for none, and
what not to touch. The answer is JSON, a line each: `["?", group]` before a group of files is
touched, so that whoever waits knows what it is that hangs, `[group, {gauge: number}]`, `["end"]`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from forge_tui.sensors import gpus, nvml, system

_MOST = 1 << 16


def main() -> None:
    """`ROOT` is the only argument; NVIDIA's library is asked where the root is the real one."""
    root = Path(sys.argv[1])
    nvidia = nvml.Nvml() if root == Path("/") else None
    while question := sys.stdin.buffer.readline(_MOST):
        asked = json.loads(question)
        for line in answer(root, int(asked["pid"]), set(asked["skip"]), nvidia):
            os.write(1, json.dumps(line).encode() + b"\n")


def answer(root: Path, pid: int, skip: set[str], nvidia: nvml.Nvml | None) -> Iterator[list[Any]]:
    """The lines of an answer."""
    yield from _group("memory", skip, lambda: system.memory(root))
    yield from _group("processor", skip, lambda: system.processor(root))
    if pid:
        yield from _group("worker", skip, lambda: system.process(root, pid))
    yield ["?", "gpus"]
    found = [] if "gpus" in skip else gpus.find(root)
    for folder in found:
        yield from _group(f"gpu {folder.name}", skip, partial(gpus.read, folder))
    if nvidia is not None and "nvml" not in skip:
        yield ["?", "nvml"]
        for address, gauges in nvidia.read():
            yield [f"gpu {address}", gauges]
    yield ["end"]


def _group(name: str, skip: set[str], read: Callable[[], dict[str, Any]]) -> Iterator[list[Any]]:
    if name not in skip:
        yield ["?", name]
        yield [name, read()]
