"""Small files of the kernel, which may be missing, forbidden, or hold anything."""

from __future__ import annotations

import os
from pathlib import Path

_MOST = 1 << 16


def text(path: Path) -> str:
    """The first 64 KB, "" where it cannot be read. Waits as long as the kernel does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(handle, _MOST).decode(errors="replace")
    except OSError:  # EPERM of a gauge that a sleeping device does not have, EBUSY, ENODATA
        return ""
    finally:
        os.close(handle)


def number(path: Path, scale: float = 1.0) -> float | None:
    """A file that holds one decimal number; None where it holds none."""
    found = text(path).strip()
    digits = found.removeprefix("-")
    return (
        int(found) * scale if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
    )


def names(folder: Path) -> list[str]:
    """A folder's entries in order; none where it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
