"""Reading other programs' folders: bounded, never writing, never failing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from forge.store.split import ModelFiles, group

_MOST_ENTRIES = 50_000  # a walk ends there: a cache may be a network folder, or link to one


def files(root: Path, depth: int) -> Iterator[str]:
    """Regular files below a folder, as paths relative to it with '/', at most `depth` folders down.

    Links are followed (the Hugging Face cache is made of them); the depth ends every loop. What
    cannot be read is left out.
    """
    left = _MOST_ENTRIES
    pending = [("", 0)]
    while pending:
        folder, level = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return
                    path = f"{folder}{entry.name}"
                    try:
                        if entry.is_file():
                            yield path
                        elif level < depth and entry.is_dir():
                            pending.append((f"{path}/", level + 1))
                    except OSError:
                        continue
        except OSError:
            continue


def folders(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted; none if it cannot be read."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())[:_MOST_ENTRIES]
    except OSError:
        return []


def models(root: Path, depth: int) -> list[tuple[ModelFiles, int]]:
    """The complete GGUF models below a folder, each with its size in bytes."""
    return [
        (model, size)
        for model in group(files(root, depth))
        if not model.missing and (size := gguf_bytes([root / name for name in model.files]))
    ]


def gguf_bytes(paths: list[Path]) -> int:
    """The files' size together; 0 unless every one can be read and begins as a GGUF does."""
    total = 0
    for path in paths:
        try:
            with path.open("rb") as file:
                if file.read(4) != b"GGUF":
                    return 0
                total += os.fstat(file.fileno()).st_size
        except OSError:
            return 0
    return total


def read_text(path: Path, most: int = 1 << 20) -> str:
    """A small text file's contents; empty if it is missing, unreadable, binary or large."""
    try:
        if not path.is_file():  # a FIFO would block the read
            return ""
        with path.open("rb") as file:
            data = file.read(most + 1)
        return data.decode() if len(data) <= most else ""
    except (OSError, UnicodeDecodeError):
        return ""


def read_json(path: Path) -> dict[str, object]:
    """A small JSON file's object; empty if there is none."""
    try:
        value = json.loads(read_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
