"""`forge doctor --report`: one archive to attach to a driver bug, without what is personal."""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forge._version import __version__
from forge.doctor.as_json import as_json
from forge.doctor.examination import Examination
from forge.doctor.hangs import HangRecord
from forge.doctor.memory import Memory, standing_as_json
from forge.doctor.redact import Redactor
from forge.doctor.rules import knowledge
from forge.errors import OutputError, UsageError

_LOG_LINES = 500
_README = """\
Written by forge doctor {version}.

facts.json      what was read of the machine, or why it could not be read
findings.json   known conditions that hold or may hold, and those that are ruled out
kernel-log.txt  lines of this boot's kernel log about graphics
hangs/          the last hangs: phase, times, and what the worker's driver printed
versions.json   of forge, Python and the backends
memory.json     what forge does not use here and why, and how long pieces of work take

Names of the user and the host, the home folder, serial numbers and addresses of network cards are
taken out; so are lines of a worker's output that do not look like a driver's.
"""


def write_report(
    path: Path,
    found: Examination,
    backends: Sequence[tuple[str, str]],
    environ: Mapping[str, str],
    root: Path = Path("/"),
    *,
    force: bool = False,
    memory: Memory | None = None,
) -> None:
    """Write the archive whole or not at all. memory: what the ledger knows.

    UsageError where the file is there and `force` was not given; OutputError where it cannot be
    written.
    """
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path}: there is such a file already; --force overwrites it")
    redact = Redactor(environ, root)
    files = _contents(found, backends, redact)
    files["memory.json"] = _json(_memory(memory or Memory(), redact))
    data = _archive(files)
    draft = ""
    try:
        handle, draft = tempfile.mkstemp(".draft", f".{path.name}.", path.parent)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        _publish(draft, path, force)
    except OSError as error:
        raise OutputError(f"{path}: the report cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            os.unlink(draft)


def _publish(draft: str, path: Path, force: bool) -> None:
    if force:
        os.replace(draft, path)
        return
    try:
        os.link(draft, path)  # unlike a rename it never overwrites
    except FileExistsError:
        raise UsageError(f"{path}: there is such a file already; --force overwrites it") from None
    except OSError:  # a file system without links
        os.replace(draft, path)


def _contents(
    found: Examination, backends: Sequence[tuple[str, str]], redact: Redactor
) -> dict[str, str]:
    whole = as_json(found)
    versions = {
        "forge": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "rules": knowledge().compiled,
        "backends": {name: missing or "installed" for name, missing in backends},
    }
    log = ((line.at, redact.kernel_line(line.text)) for line in found.log.lines)
    lines = [f"[{at:12.6f}] {text}" for at, text in log if text][-_LOG_LINES:]
    if not lines:
        why = redact.text(found.log.why)
        lines = [f"not readable: {why}" if why else "no line about graphics"]
    files = {
        "README.txt": _README.format(version=__version__),
        "facts.json": _json(_facts(whole["facts"], redact)),
        "findings.json": _json(
            {
                "findings": [_finding(finding, redact) for finding in whole["findings"]],
                "ruled_out": whole["ruled_out"],
                "effects": whole["effects"],
                "signatures": [_hit(hit, redact) for hit in whole["kernel_log"]["hits"]],
            }
        ),
        "kernel-log.txt": "\n".join(lines or [f"not readable: {redact.text(found.log.why)}"])
        + "\n",
        "versions.json": _json(redact.values(versions)),
    }
    for number, record in enumerate(found.hangs, 1):
        files[f"hangs/{number:02}.json"] = _json(_hang(record, redact))
    return files


def _facts(facts: dict[str, Any], redact: Redactor) -> dict[str, Any]:
    machine, shown = dict(facts["machine"]), dict(facts["shown"])
    for name, value in machine.items():
        if name.startswith("env.") and isinstance(value, str):
            machine[name] = redact.setting(value)
    shown.pop("variables", None)  # the same, on one line
    return redact.values(facts | {"machine": machine, "shown": shown})  # type: ignore[no-any-return]


def _hit(hit: dict[str, Any], redact: Redactor) -> dict[str, Any]:
    return hit | {"line": redact.kernel_line(hit["line"]) or "(left out)"}


def _finding(finding: dict[str, Any], redact: Redactor) -> dict[str, Any]:
    """The rule's own words stay as they are; why a fact is unknown may quote a file."""
    return finding | {"missing": redact.values(finding["missing"])}


def _hang(record: HangRecord, redact: Redactor) -> dict[str, Any]:
    known = asdict(record)
    del known["file"]
    lines = {name: redact.lines(known.pop(name)) for name in ("log", "trace")}
    known["reason"] = _reason(known["reason"], redact)
    return redact.values(known) | lines  # type: ignore[no-any-return]


def _reason(reason: str, redact: Redactor) -> str:
    """How a worker ended is forge's own text; the last line that it printed may be anything."""
    if not reason.startswith("the worker "):
        return redact.text(reason)
    how, colon, words = reason.partition(": ")
    return redact.text(how) + (f": {redact.lines([words])[0]}" if colon else "")


def _memory(memory: Memory, redact: Redactor) -> dict[str, Any]:
    """What a person wrote down with `forge quarantine add`, which has no phase, is left out."""
    standings = [standing_as_json(standing) for standing in memory.standings]
    for entry in standings:
        told = entry["phase"] or entry["until_reboot"]
        entry["reason"] = _reason(entry["reason"], redact) if told else "(left out)"
    paces = [asdict(row) for row in memory.paces]
    known = {"notes": list(memory.notes), "quarantines": standings, "paces": paces}
    return redact.values(known)  # type: ignore[no-any-return]


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _archive(files: Mapping[str, str]) -> bytes:
    """Without the times and owners of anything."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(f"forge-report/{name}")
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
