"""What a person chose for the workers of an engine, checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from forge.ahead import Ahead
from forge.budgets import SECONDS
from forge.errors import UsageError
from forge.paths import python_path
from forge.process import WorkerProcess
from forge.spec import BackendSpec

JANITOR = "FORGE_JANITOR"
"""Tells a worker to leave a process behind that outlives the host (`forge.worker.janitor`)."""
MOST_TOKENS = 2**31 - 1
"""More than any context."""
_MOST_THREADS = 2**16
KV_TYPES = ("f16", "f32", "q8_0")
"""What a KV cache can be asked to be kept in."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What every worker of an engine is started with; UsageError names a value out of range.

    device is for the backend that was `asked` for by name, if one was. patience multiplies every
    budget; `seconds` are their floors by phase, and `weights` the model's bytes. kv_type is the KV
    cache's. `command` is what speaks for a backend: given three descriptors, it answers as
    `forge.worker` does. `ahead` may own a worker that is there already. `process` starts it.
    `remember`: what happens to a device is kept, so that somebody has to tidy up after a host that
    was killed.
    """

    model: str | None
    context: int | None = None
    device: str | None = None
    threads: int | None = None
    patience: float = 1.0
    asked: str = ""
    kv_type: str | None = None
    weights: int = 0
    seconds: Mapping[str, float] = field(default_factory=lambda: SECONDS)
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "forge.worker")
    ahead: Ahead = field(default_factory=Ahead, compare=False)
    process: type[WorkerProcess] = WorkerProcess
    remember: bool = False

    def __post_init__(self) -> None:
        """Check what people type."""
        if self.threads is not None and not 1 <= self.threads <= _MOST_THREADS:
            raise UsageError(f"{self.threads} threads: give 1 to {_MOST_THREADS}")
        if self.context is not None and not 1 <= self.context <= MOST_TOKENS:
            raise UsageError(f"a context of {self.context} tokens: give 1 to {MOST_TOKENS}")
        if self.kv_type not in (None, *KV_TYPES):
            raise UsageError(f"a KV cache of {self.kv_type!r}: known are {', '.join(KV_TYPES)}")
        if not self.patience > 0:
            raise UsageError(f"a patience of {self.patience}: give a positive factor")
        if self.device is not None and not self.device.isprintable():
            raise UsageError(f"there is no device {self.device!r}")

    def device_of(self, spec: BackendSpec) -> str | None:
        """What --device means for a backend: a floor is what is left when that one is not."""
        asked = spec.name == self.asked
        return self.device if asked or not (self.asked or spec.floor) else None

    def environment(self, spec: BackendSpec) -> dict[str, str]:
        """The host's environment, without module paths that mean the current folder, and the
        backend's."""
        env = {**os.environ, **spec.env}
        env["PYTHONPATH"] = python_path(env.get("PYTHONPATH", ""))
        threads = self.threads or len(os.sched_getaffinity(0))
        if self.remember and not spec.floor:
            env[JANITOR] = "1"
        return env | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
