"""Names and sizes as a terminal may show them."""

from __future__ import annotations


def printable(text: object) -> str:
    """Escape what could move a cursor, hide text or fail to encode: names come from strangers.

    Control and bidirectional characters, newlines and undecodable bytes show as backslash escapes.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in str(text)
    )


def size(count: int) -> str:
    """Bytes in the decimal units that download pages use: 98362432 is '98.4 MB'."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"
