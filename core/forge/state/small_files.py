"""Small files that somebody else writes: read without trust, and without waiting."""

from __future__ import annotations

import os
from pathlib import Path


def head(path: Path, most: int = 4096) -> bytes:
    """The first bytes of a file, none if it cannot be read; a pipe in its place blocks nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, most)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return b""


def line(path: Path) -> str:
    """A small file's first line."""
    text = head(path).decode(errors="replace")
    return text.strip().partition("\n")[0].strip()


def names(folder: Path) -> list[str]:
    """What a folder holds; nothing if it cannot be read."""
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []
