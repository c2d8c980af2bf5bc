"""Finds the signatures of rules.toml in lines of a log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from forge.doctor.rules import Signature, knowledge

_LONGEST = 1000
"""Characters of a line that are looked at: hostile ones must not cost time."""
_ADDRESS = re.compile(r"\b[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b")
_DEVICE_ID = re.compile(r"\b1002:([0-9a-f]{4})\b")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the kernel's log and its time, in seconds since the machine started."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A signature that was found.

    action: a key of `knowledge().actions`, such as "device-dead-until-reboot".
    line: the last line that has it. at: that line's time, None where it has none.
    address, device_id: the GPU that the line names, by PCI address or PCI device id; "" if it
        names none.
    count: how often it was found for that GPU.
    """

    signature: str
    means: str
    action: str
    line: str
    at: float | None = None
    address: str = ""
    device_id: str = ""
    count: int = 1


def scan(lines: Iterable[str | Line], stream: str = "kernel") -> list[Hit]:
    """One hit for each signature and GPU, in the order in which they were last seen.

    Time grows with the number of lines only: a line is cut at 1000 characters, and no signature
    repeats without a bound.
    """
    wanted = [signature for signature in knowledge().signatures if signature.stream == stream]
    found: dict[tuple[str, str, str], Hit] = {}
    for line in lines:
        text = (line.text if isinstance(line, Line) else line)[:_LONGEST]
        for signature in wanted:
            if signature.pattern.search(text):
                hit = _hit(signature, text, line.at if isinstance(line, Line) else None)
                key = (hit.signature, hit.address, hit.device_id)
                if before := found.pop(key, None):
                    hit = replace(hit, count=before.count + 1)
                found[key] = hit
    return list(found.values())


def _hit(signature: Signature, text: str, at: float | None) -> Hit:
    address, device = _ADDRESS.search(text), _DEVICE_ID.search(text)
    return Hit(
        signature.id,
        signature.means,
        signature.action,
        text,
        at,
        address[0] if address else "",
        device[1] if device else "",
    )
