"""What a soak does to its engines: drawn from a seed, so that it can be done again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from forge import SamplingParams
from forge.faults import FAULTS, PHASES, SUBTLE
from forge.spec import BackendSpec
from forge.testing import faulty
from forge.testing.damage import ENDINGS
from forge.testing.lies import TOKENS

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
SECONDS = {
    "start": 2.0,
    "open": 1.0,
    "load": 1.0,
    "compile": 2.0,
    "check": 1.0,
    "idle": 0.6,
    "prefill": 0.6,
    "decode": 0.6,
}
"""Floors of the time budgets, for a model whose steps take a millisecond."""
LONGEST = 40
"""Tokens of a reply."""
SAMPLING = (
    SamplingParams(temperature=0),
    SamplingParams(temperature=0.8, seed=7),
    SamplingParams(temperature=1.3, top_k=20, seed=11),
)

Action = Literal["", "cancel", "cancel-later", "abandon", "kill", "stop", "idle-kill", "idle-stop"]
ACTIONS: tuple[Action, ...] = (
    *("", "", "", "", "", "cancel", "cancel-later"),
    *("abandon", "kill", "stop", "idle-kill", "idle-stop"),
)
STRIKES = ("kill", "stop", "idle-kill", "idle-stop")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault at a step of a phase; `again` has the same settings as one before."""

    fault: str
    phase: str
    step: int
    number: int

    def spec(self, name: str) -> BackendSpec:
        """A backend that has it."""
        return faulty(
            name,
            of=replace(CPU, options={"soak": str(self.number)}),
            fault=self.fault,  # type: ignore[arg-type]  # drawn from the faults
            phase=self.phase,  # type: ignore[arg-type]  # and from the phases
            step=self.step,
            seconds=0.1,
        )

    def __str__(self) -> str:
        return f"{self.fault} at step {self.step} of {self.phase}"


def trouble(rng: Random) -> Trouble:
    """Any fault in any phase in which it shows nothing that is wrong before it is noticed."""
    fault = rng.choice((*FAULTS, *(name for name in SUBTLE if name != "stale-keep")))
    phases = [phase for phase in PHASES if phase != "start" or fault in (*ENDINGS, "slow")]
    if fault in TOKENS:
        phases = ["decode"]
    if fault == "wrong":  # in decode some tokens are shown: the matrix has that one
        phases.remove("decode")
    phase = rng.choice(phases)
    most = {"load": 20, "check": 6, "decode": 30}.get(phase, 1)
    return Trouble(fault, phase, rng.randint(1, most), rng.randrange(1 << 16))


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine: what fails before the floor, and what it is opened with."""

    troubles: tuple[Trouble, ...]
    standby: bool
    strict: bool
    replies: int

    def specs(self) -> list[BackendSpec]:
        """The backends in their order."""
        return [each.spec(f"gpu{i}") for i, each in enumerate(self.troubles)] + [CPU]


def plan(rng: Random, before: list[Trouble]) -> Plan:
    """A new engine's; one fault in eight is one that the ledger may know already."""
    count = rng.choice((0, 1, 1, 1, 1, 2, 2, 3))
    drawn = [
        rng.choice(before) if before and rng.random() < 1 / 8 else trouble(rng)
        for _ in range(count)
    ]
    before.extend(drawn)
    strict = bool(drawn) and rng.random() < 1 / 8
    return Plan(tuple(drawn), rng.random() < 1 / 3, strict, rng.randint(1, 6))


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, and the reply that an undisturbed backend gives: its first LONGEST tokens."""

    prompt: tuple[int, ...]
    params: SamplingParams
    truth: tuple[int, ...]


@dataclass(slots=True)
class Tally:
    """What happened; `lost` is what must not have. One for each thread, added up at the end."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """What another thread saw."""
        self.counts += other.counts
        self.faults += other.faults
        self.lost += other.lost
