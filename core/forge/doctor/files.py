"""Small files of others, where a folder, a pipe or gigabytes may lie in their place."""

from __future__ import annotations

import os
from pathlib import Path


def read_some(path: Path, most: int) -> bytes | None:
    """A file's first bytes, `most` of them at the most; None where it cannot be read.

    Never waits: a pipe without a writer is empty.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found = b""
    try:
        while len(found) < most and (chunk := os.read(handle, most - len(found))):
            found += chunk
    except OSError:
        return None
    finally:
        os.close(handle)
    return found
