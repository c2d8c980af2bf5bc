"""One look at a machine: its facts, what the rules make of them, and the hangs on record."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forge.doctor import kernel_log
from forge.doctor.facts import MEANINGS, Facts, Gpu, Unknown, Value
from forge.doctor.gpus import count_gpus, count_kinds, find_gpus
from forge.doctor.hangs import HangRecord, hang_values, read_hangs
from forge.doctor.judge import Effect, Finding, effects, judge
from forge.doctor.kernel_log import KernelLog
from forge.doctor.machine import machine_values, shown
from forge.doctor.rules import knowledge
from forge.doctor.signatures import Hit, scan
from forge.doctor.snapshot import COMMAND, Snapshot, take

_DRIVER = ("sys/module/amdgpu", "sys/class/kfd", "dev/kfd")


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    findings: certain ones first. ruled_out: ids of the rules that certainly do not hold.
    log: the kernel's log of this boot, or why it cannot be read; hits: what was found in it.
    hangs: hang records, the newest first; broken: how many files were none.
    complete: False where not everything could be looked at in time.
    """

    facts: Facts
    findings: tuple[Finding, ...]
    ruled_out: tuple[str, ...]
    log: KernelLog
    hits: tuple[Hit, ...]
    hangs: tuple[HangRecord, ...]
    broken: int
    complete: bool
    seconds: float

    @property
    def effects(self) -> list[Effect]:
        """What the findings mean for the choice of backends."""
        return effects(self.findings)


def examine(
    root: Path = Path("/"),
    *,
    environ: Mapping[str, str] | None = None,
    state: Path | None = None,
    model_bytes: int | None = None,
    seconds: float = 4.0,
    quick: bool = False,
    python_path: Sequence[str] | None = None,
    command: Sequence[str] = COMMAND,
) -> Examination:
    """Gather the facts under `root` and judge every rule, within about `seconds`; never raises.

    environ: the environment whose driver variables count, by default this process's own.
    state: the folder with hangs/*.json; None looks at no records.
    model_bytes: the size of a model that is to fit.
    quick: leave out what takes long (journalctl) and what asks a device how busy it is.
    python_path: where ROCm's Python packages may lie, by default where Python itself looks.
    command: the program that reads the files: `snapshot.COMMAND`, or one that wraps it.
    """
    started = time.monotonic()
    environ = os.environ if environ is None else environ
    files = take(
        root,
        full=not quick,
        seconds=seconds,
        environ=environ,
        python_path=sys.path if python_path is None else python_path,
        command=command,
    )
    journal = None if quick else kernel_log.JOURNAL
    log = kernel_log.read(root, seconds=seconds / 2, journal=journal)
    hits = tuple(scan(log.lines))
    records, broken = ([], 0) if state is None else read_hangs(state / "hangs")
    facts = _facts(files, environ, model_bytes, log, hits, records)
    findings, ruled_out = judge(knowledge().rules, facts)
    return Examination(
        facts,
        tuple(findings),
        tuple(ruled_out),
        log,
        hits,
        tuple(records),
        broken,
        files.complete,
        time.monotonic() - started,
    )


def start_effects(root: Path = Path("/")) -> list[Effect]:
    """What the machine's facts mean for the choice of backends, for use at every start.

    It costs three look-ups where amdgpu is not loaded, and about a tenth of a second where it is;
    one and a half seconds at the most, if the driver's files do not answer.
    """
    if not any(os.path.lexists(root / path) for path in _DRIVER):
        return []
    return examine(root, quick=True, seconds=1.5).effects


def _facts(
    files: Snapshot,
    environ: Mapping[str, str],
    model_bytes: int | None,
    log: KernelLog,
    hits: Sequence[Hit],
    records: Sequence[HangRecord],
) -> Facts:
    found, others = find_gpus(files, environ)
    values = machine_values(files, environ, model_bytes)
    values |= {"amd_gpus": count_gpus(files, len(found)), "different_isas": count_kinds(files)}
    alone = len(found) == 1
    gpus = tuple(
        Gpu(
            gpu.address,
            gpu.device_id,
            {
                **gpu.values,
                **log_values(log, hits, gpu, only=alone),
                **hang_values(records, gpu, only=alone, uptime=_uptime()),
            },
        )
        for gpu in found
    )
    return Facts(values, gpus, tuple(others), shown(files, environ), tuple(files.hung))


def log_values(log: KernelLog, hits: Sequence[Hit], gpu: Gpu, *, only: bool) -> dict[str, Value]:
    """Which signatures the kernel's log has of a GPU.

    A line that names no GPU is that of the only one; of several, nobody knows whose it is.
    """
    if not log.readable:
        return {
            "log.*": Unknown(f"the kernel's log cannot be read ({log.why})", MEANINGS["log"].how)
        }
    values: dict[str, Value] = {"log.*": False}
    for hit in hits:
        key = f"log.{hit.signature}"
        unnamed = not (hit.address or hit.device_id)
        if hit.address == gpu.address or (not hit.address and hit.device_id == gpu.device_id):
            values[key] = True
        elif unnamed and values.get(key) is not True:
            values[key] = True if only else Unknown("the log's line names no GPU")
    return values


def _uptime() -> float | None:
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return None
