"""Compiled code on disk: all of what was written, or nothing.

A driver looks at the header of what it is given; not every one survives damage behind it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs

_DIGEST = hashlib.sha256().digest_size


def folder() -> Path:
    """Where compiled kernels are kept between starts."""
    given = os.environ.get("FORGE_HIP_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("forge") / "hip"


def read(path: Path) -> bytes:
    """What was written; nothing where there is none, or where it is not as it was."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    digest, data = content[:_DIGEST], content[_DIGEST:]
    return data if digest == hashlib.sha256(data).digest() else b""


def write(path: Path, data: bytes) -> None:
    """Put it there at once, with its folder; OSError where the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(hashlib.sha256(data).digest() + data)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
