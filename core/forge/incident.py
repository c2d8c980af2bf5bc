"""A backend's failure on paper: what was known of it when it was given up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from forge._version import __version__

_KEPT = 50
"""Records; older ones are removed."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One failure of a backend on a device.

    kind: the name of the error's class. phase, piece: what the worker was at, and the last piece of
    work that it had finished. age_s, budget_s: for how long it was silent, and how long it had.
    tokens: of the reply that were shown. threads, stack, log: the worker's (`process.Testimony`).
    struck: somebody else ended the worker. left_behind: killed, it stayed in its driver.
    kernel: what the kernel's log says of the device since. parts: versions, as in the ledger's key.
    address: where the device sits, "0000:03:00.0" on PCI; "" where nobody said.
    prompt_tokens: of the prompt, those that the reply in progress had to read; 0 before one.
    No text of the person's is in it, and the home folder is written as "~".
    """

    backend: str
    device: str
    driver: str
    kind: str
    reason: str
    phase: str
    piece: str
    age_s: float
    budget_s: float
    tokens: int
    ran_s: float
    pid: int
    struck: bool = False
    threads: tuple[str, ...] = ()
    stack: str = ""
    log: str = ""
    left_behind: bool = False
    kernel: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    address: str = ""
    prompt_tokens: int = 0
    forge: str = __version__
    when: float = field(default_factory=time.time)


def write(incident: Incident, folder: Path) -> Path | None:
    """Keep it in the folder, whole or not at all; None where that cannot be."""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(incident.when))}-{incident.backend}"
    path = folder / f"{name}-{os.getpid()}-{incident.pid}.json"
    text = json.dumps(_without_home(asdict(incident)), indent=1)
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        return None
    _remove_old(folder)
    return path


def _remove_old(folder: Path) -> None:
    with suppress(OSError):
        for path in sorted(folder.glob("*.json"))[:-_KEPT]:
            path.unlink()


def _without_home(value: object) -> object:
    if isinstance(value, str):
        home = os.path.expanduser("~")
        return value.replace(home, "~") if len(home) > 1 else value
    if isinstance(value, Mapping):
        return {str(name): _without_home(part) for name, part in value.items()}
    if isinstance(value, Iterable):
        return [_without_home(part) for part in value]
    return value
