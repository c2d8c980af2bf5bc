"""A backend that fails when told to: real hangs, crashes and wrong numbers around a real backend.

    hangs = faulty("hangs", of=mine, fault="hang", phase="decode", step=3)
    engine = Engine.open(model, backend=hangs, fallback_to=[mine])

The worker that opens it computes with the backend `of` until the third decode step, then stops
there for good. Nothing is simulated: only the kernel's own means end such a process.

fault     what happens
hang      sleeps for ever; SIGTERM is ignored
busy-hang spins for ever in one C call that holds the interpreter's lock
die       SIGKILL
exit      the process ends with code 7
abort     abort(3), as drivers do
segfault  reads address 0
exception RuntimeError, a backend's own bug
oom       BackendOutOfMemory
lost      BackendLost, as a backend says when its device is gone
slow      sleeps `seconds` before the step and before each one after it
nan       from the step on every result is NaN
constant  from the step on every result is one number
wrong     from the step on results are a tenth too large in every third column: plausible, and wrong

A device that is wrong is wrong for all: such numbers are those of known answers as well.

and what is harder to notice, SUBTLE:
few-nan   from the step on the last column of every result is NaN
two-values  from the step on every result is one of two numbers
stale     from the step on a run returns what the one before it computed; the first one zeros
stale-keep  from that prefill on `keep` says that it kept what belongs to another text
repeat    from that token on decode yields the one before it
few       decode ends before that token
many      decode goes on after the last token that it was asked for
outside   from that token on decode yields ids past the vocabulary

phase     its steps
start     the interpreter's start (only the endings, from hang to segfault, and slow)
open      the constructor
load      each weight
compile   the compilation of the model
check     each known answer, before there is a reply
prefill   each chunk of a prompt
decode    each token after the first
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np

from forge import miniature
from forge.backend import (
    Array,
    Backend,
    BackendConfig,
    BackendSpec,
    Check,
    Device,
    Executable,
    Graph,
    Memory,
    Node,
    Phase,
    Progress,
    Rows,
    Value,
    Weight,
)
from forge.errors import UsageError
from forge.faults import FAULTS, PHASES, SUBTLE, Fault, Subtle, Where
from forge.sampling import Sampler
from forge.testing import lies
from forge.testing.damage import ENDINGS
from forge.testing.script import PREFIX, Script


def faulty(
    name: str,
    *,
    of: BackendSpec,
    fault: Fault | Subtle,
    phase: Where,
    step: int = 1,
    seconds: float = 0.0,
    floor: bool = False,
    diary: Path | None = None,
) -> BackendSpec:
    """A backend called `name` that is `of` until the phase's step (from 1), and then fails.

    `seconds` is for "slow". `diary` is a file that is told when it begins, a line with the seconds
    since 1970. UsageError for what cannot be.
    """
    if fault not in (*FAULTS, *SUBTLE) or phase not in PHASES or step < 1:
        raise UsageError(f"fault {fault!r} at step {step} of {phase!r}: see forge.testing.faulty")
    if phase == "start" and fault not in (*ENDINGS, "slow"):
        raise UsageError(f"at its start a worker can {', '.join(ENDINGS)} or be slow, not {fault}")
    if fault in lies.TOKENS and phase != "decode":
        raise UsageError(f"{fault} is for the phase decode, not {phase}")
    if fault == "stale-keep" and phase != "prefill":
        raise UsageError(f"{fault} is for the phase prefill, not {phase}")
    written = str(diary.absolute()) if diary else ""
    mine = {"of": of.factory, "fault": fault, "phase": phase, "step": step, "seconds": seconds}
    mine["diary"] = written
    return replace(
        of,
        name=name,
        factory="forge.testing.faulty:FaultyBackend",
        options={**of.options, **{PREFIX + key: str(value) for key, value in mine.items()}},
        env={**of.env, **_start(fault, seconds, written, of)} if phase == "start" else of.env,
        floor=floor,
    )


def _start(fault: str, seconds: float, diary: str, of: BackendSpec) -> dict[str, str]:
    folder = str(Path(__file__).parent / "at_start")
    paths = of.env.get("PYTHONPATH", os.environ.get("PYTHONPATH"))
    how = {"FORGE_FAULT_SECONDS": str(seconds)} if fault == "slow" else {"FORGE_FAULT": fault}
    return {
        "PYTHONPATH": f"{folder}{os.pathsep}{paths}" if paths else folder,
        "FORGE_FAULT_DIARY": diary,
        **how,
    }


class FaultyBackend(Backend):
    """Passes everything on to the backend it wraps; fails as its options say."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._script = Script(config.options)
        self._script.reach("open")
        module, _, name = self._script.of.partition(":")
        options = {k: v for k, v in config.options.items() if not k.startswith(PREFIX)}
        self._inner: Backend = getattr(import_module(module), name)(
            BackendConfig(config.device, config.threads, options, asked=True)  # by the test
        )

    @property
    def device(self) -> Device:
        """That of the wrapped backend."""
        return self._inner.device

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """As the wrapped backend does."""
        return self._inner.supports(node, specs)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """The model's graph, or a known answer's: one node, or the model in small."""
        if len(graph.nodes) == 1 or graph.name == miniature.NAME:
            inner = self._inner.compile(graph, weights, progress)
            return FaultyExecutable(inner, self._script, known=True)

        def told(phase: Phase, done: int, total: int, detail: str = "") -> None:
            if phase == "load" and done:
                self._script.reach("load")
            progress(phase, done, total, detail)

        inner = self._inner.compile(graph, weights, told)
        self._script.reach("compile")
        progress("compile", 1, 1, graph.name)
        return FaultyExecutable(inner, self._script, known=False)

    def warm(self, graph: Graph | None, progress: Progress) -> str:
        """As the wrapped backend does."""
        return self._inner.warm(graph, progress)

    def required(self, graph: Graph) -> int:
        """As the wrapped backend needs."""
        return self._inner.required(graph)

    def memory(self) -> Memory:
        """That of the wrapped backend."""
        return self._inner.memory()

    def checks(self) -> list[Check]:
        """Those of the wrapped backend."""
        return self._inner.checks()

    def close(self) -> None:
        """Close the wrapped backend."""
        self._inner.close()


class FaultyExecutable(Executable):
    """Passes runs on; the script sees each step before it happens and each result after it."""

    def __init__(self, inner: Executable, script: Script, *, known: bool) -> None:
        self._inner, self._script, self._known = inner, script, known
        self._decoding = False
        self._before: dict[str, Array] = {}
        self.chunk = inner.chunk

    @property
    def graph(self) -> Graph:
        """That of the wrapped executable."""
        return self._inner.graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """A step of check, prefill or decode."""
        if not self._known:
            self._script.reach("decode" if self._decoding else "prefill")
        elif not self._script.serves:
            self._script.reach("check")
        results = self._inner.run(inputs, positions, slots, rows)
        before, self._before = self._before, results
        if not (self._script.lies and self._script.changes_numbers):
            return results
        return {
            name: lies.numbers(self._script.fault, value, before.get(name))
            for name, value in results.items()
        }

    def keep(self, slot: int, count: int) -> int:
        """As the wrapped executable keeps, or, for "stale-keep", of another text."""
        if count and self._script.lies and self._script.fault == "stale-keep":
            self._overwrite(slot, count)
            return count
        return self._inner.keep(slot, count)

    def _overwrite(self, slot: int, count: int) -> None:
        """Fill the slot's state with as many tokens of another text."""
        (name,) = self.inputs
        for start in range(self._inner.keep(slot, 0), count, self.chunk):
            positions = np.arange(start, min(start + self.chunk, count), dtype=np.int32)
            where = np.full_like(positions, slot)
            self._inner.run({name: positions % 7}, positions, where, "none")

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """The wrapped executable's own way, unless its numbers are to be changed."""
        if self._script.changes_numbers or self._known:
            self._decoding = True
            try:
                yield from super().decode(token, start, count, sampler, slot)
            finally:
                self._decoding = False
            return
        tokens = self._inner.decode(token, start, count, sampler, slot)
        for left in range(count, 0, -1):
            self._script.reach("decode")
            if self._script.lies and self._script.fault in lies.TOKENS:
                yield from lies.tokens(self._script.fault, tokens, token, left)
                return
            token = next(tokens)
            yield token

    def close(self) -> None:
        """Close the wrapped executable."""
        self._inner.close()
