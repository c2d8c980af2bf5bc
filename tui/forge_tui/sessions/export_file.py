"""Writes an export, whole or not at all, and never over another file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from forge import UsageError


def format_of(path: Path) -> Literal["markdown", "json"]:
    """What a file's ending asks for. Raises UsageError."""
    match path.suffix.lower():
        case ".md" | ".markdown":
            return "markdown"
        case ".json":
            return "json"
    raise UsageError(f"{path.name}: end the name with .md for a document, .json for all branches")


def write_new(path: Path, text: str) -> None:
    """Raises UsageError where a file of that name is there, or none can be made."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already: choose another name") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror}; nothing was written") from None
