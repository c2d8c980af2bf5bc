"""How the reader words its errors: one printable line with file, field and byte offset."""

from __future__ import annotations

from pathlib import Path

from forge.errors import GGUFError

_SHOWN = 80


def show(text: str, limit: int = _SHOWN) -> str:
    """`text`, which may come from a hostile file, short and free of control characters."""
    if len(text) > limit:
        text = text[:limit] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]


def show_path(path: Path) -> str:
    """A path for a message: whole, but on one line."""
    return show(str(path), limit=4096)


def malformed(path: Path, field: str, offset: int, what: str) -> GGUFError:
    """The error for a `field` of the file that is wrong in the way `what` says."""
    return GGUFError(f"{show_path(path)}: {field} at byte {offset}: {what}")
