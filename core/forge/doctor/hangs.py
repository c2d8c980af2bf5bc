"""The records of hangs in the state folder, however damaged, and the facts in the newest one."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge.doctor.facts import Gpu, Unknown, Value
from forge.doctor.files import read_some
from forge.doctor.rules import knowledge
from forge.doctor.signatures import scan
from forge.errors import BackendHung

_LARGEST = 1 << 20
_MOST = 50
_CALLS = 3
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_COPY = re.compile(r"copy|memcpy|sdma|upload", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HangRecord:
    """One hang, as it was written down.

    kind: the name of the error's class. detail: the piece of work that it stopped in.
    when: seconds since 1970. age_s: how old the last beat was; budget_s: how old it might be.
    log: the worker's last lines. trace, threads: where it was, in Python and in the kernel.
    kernel: ids of the kernel's signatures. address: where the device sits, on PCI.
    struck: somebody else ended the worker; left_behind: killed, it stayed in its driver.
    None and "" are what the record does not say.
    """

    file: str
    backend: str = ""
    device: str = ""
    phase: str = ""
    detail: str = ""
    kind: str = ""
    reason: str = ""
    when: float | None = None
    age_s: float | None = None
    budget_s: float | None = None
    prompt_tokens: int | None = None
    log: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    address: str = ""
    tokens: int | None = None
    struck: bool = False
    left_behind: bool = False

    @property
    def where(self) -> tuple[str, ...]:
        """The innermost calls of the thread that worked, the innermost first."""
        return innermost(self.trace)

    @property
    def driver_stack(self) -> str:
        """The driver stack of its backend; "" where nobody told which one that is."""
        return knowledge().stacks.get(self.backend, "")


def state_folder() -> Path:
    """Where forge keeps what it learned: FORGE_STATE, or the user's state folder."""
    if base := os.environ.get("FORGE_STATE"):
        return Path(base).expanduser()
    from platformdirs import user_state_path  # a path given by hand needs none of it

    return user_state_path("forge", appauthor=False)


def read_hangs(folder: Path) -> tuple[list[HangRecord], int]:
    """The newest records first, at most 50, and how many files are none; never raises."""
    dated, broken = [], 0
    try:
        paths = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".json")]
    except OSError:
        return [], 0
    for path in sorted(paths)[-10 * _MOST :]:
        record = _read(Path(path))
        if record is None:
            broken += 1
        else:
            dated.append(record)
    dated.sort(key=lambda record: (record.when or 0.0, record.file), reverse=True)
    return dated[:_MOST], broken


def _read(path: Path) -> HangRecord | None:
    try:
        found = json.loads((read_some(path, _LARGEST) or b"").decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    prompt, tokens = (_number(found.get(name)) for name in ("prompt_tokens", "tokens"))
    return HangRecord(
        path.name,
        backend=_one_line(found.get("backend")),
        device=_one_line(found.get("device")),
        phase=_one_line(found.get("phase")),
        detail=_one_line(found.get("detail")) or _one_line(found.get("piece")),
        kind=_one_line(found.get("kind")),
        reason=_one_line(found.get("reason")),
        when=_number(found.get("when")),
        age_s=_number(found.get("age_s")),
        budget_s=_number(found.get("budget_s")),
        prompt_tokens=None if prompt is None else int(prompt),
        log=_lines(found.get("log")),
        trace=_lines(found.get("stack")),
        threads=_lines(found.get("threads")),
        kernel=_lines(found.get("kernel")),
        address=_one_line(found.get("address")),
        tokens=None if tokens is None else int(tokens),
        struck=found.get("struck") is True,
        left_behind=found.get("left_behind") is True,
    )


def innermost(trace: Sequence[str]) -> tuple[str, ...]:
    """Up to three calls of the thread that faulthandler calls the current one, else of the last."""
    heads = [at for at, line in enumerate(trace) if line.endswith("(most recent call first):")]
    current = [at for at in heads if trace[at].startswith("Current thread")]
    start = (current or heads or [-1])[-1] + 1
    calls = (line.strip() for line in trace[start : start + _CALLS])
    return tuple(itertools.takewhile(lambda line: line.startswith("File "), calls))


def _one_line(value: Any) -> str:
    return " ".join(value[:2000].split())[:500] if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if good else None


def _lines(value: Any) -> tuple[str, ...]:
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list):
        return ()
    return tuple(line[:500] for line in lines[-200:] if isinstance(line, str))


def hang_values(
    records: Sequence[HangRecord], gpu: Gpu, *, only: bool, uptime: float | None
) -> Mapping[str, Value]:
    """What the newest record says of that GPU; None everywhere if it is about no GPU or another.

    only: it is the machine's only GPU. uptime: seconds since the machine started.
    """
    newest = records[0] if records else None
    here = None if newest is None else _is_about(newest, gpu, only=only)
    texts = ("hang_stack", "hang_phase", "hang_prompt_tokens")
    if newest is None or here is False:
        nothing: dict[str, Value] = dict.fromkeys(texts)
        nothing |= {"hang_stalled": False, "hang_in_copy": False, "hangs_this_boot": 0}
        return nothing | {"stderr.*": False}
    if here is None:
        unclear = Unknown(f"the last hang's record does not say which GPU: {newest.device!r:.60}")
        flags = ("hang_stalled", "hang_in_copy", "hangs_this_boot", "stderr.*")
        return dict.fromkeys((*texts, *flags), unclear)
    return _of_record(newest) | {
        "hangs_this_boot": _this_boot(records, gpu, uptime, only=only),
    }


def _of_record(record: HangRecord) -> dict[str, Value]:
    unsaid = Unknown("the record of the last hang does not say it")
    stalled: Value = unsaid
    if record.kind:
        stalled = record.kind == BackendHung.__name__
    elif record.age_s is not None and record.budget_s is not None:
        stalled = record.age_s >= record.budget_s
    said = (*record.log, *record.trace, record.reason, record.detail)
    # A call's file may be called upload.py: its function says more ("File …, line 3 in copy").
    where = " ".join(
        [record.detail, *(call.rpartition(" in ")[2] for call in record.where)]
    ).strip()
    return {
        "hang_stack": record.driver_stack or unsaid,
        "hang_phase": record.phase or unsaid,
        "hang_stalled": stalled,
        "hang_in_copy": bool(_COPY.search(where)) if where else unsaid,
        "hang_prompt_tokens": unsaid if record.prompt_tokens is None else record.prompt_tokens,
        **{f"stderr.{hit.signature}": True for hit in scan(said, "stderr")},
        "stderr.*": False if record.log else unsaid,
    }


def _is_about(record: HangRecord, gpu: Gpu, *, only: bool) -> bool | None:
    """None where it cannot be told."""
    if record.driver_stack == "" and record.backend:
        return False  # a backend that uses no driver stack we know, such as the CPU's
    if _ADDRESS.fullmatch(record.address.lower()):
        return record.address.lower() == gpu.address
    device = record.device.lower()
    if gpu.address in device or (gpu.isa_name and gpu.isa_name in device and only):
        return True
    return True if only else (False if re.search(r"[0-9a-f]{4}:[0-9a-f]{2}:", device) else None)


def _this_boot(
    records: Sequence[HangRecord], gpu: Gpu, uptime: float | None, *, only: bool
) -> Value:
    if uptime is None:
        return Unknown("when the machine was started is unknown")
    booted = time.time() - uptime
    about = [record for record in records if _is_about(record, gpu, only=only)]
    return sum(record.when is not None and record.when >= booted for record in about)
