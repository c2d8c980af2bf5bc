"""What a driver compiled, on disk: all of what was written, or nothing.

A driver looks at the header of what it is given; not every one survives damage behind it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs

_DIGEST = hashlib.sha256().digest_size


def folder(backend: str) -> Path:
    """Where a backend's compiled code is kept between starts: FORGE_NAME_CACHE, or the cache."""
    given = os.environ.get(f"FORGE_{backend.upper()}_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("forge") / backend


def read(path: Path) -> bytes:
    """What was written; nothing where there is none, or where it is not as it was."""
    try:
        return unsealed(path.read_bytes())
    except OSError:
        return b""


def write(path: Path, data: bytes) -> None:
    """Put it there at once, with its folder; OSError where the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(sealed(data))
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def sealed(data: bytes) -> bytes:
    """With its digest before it."""
    return hashlib.sha256(data).digest() + data


def unsealed(content: bytes) -> bytes:
    """What was sealed; nothing where it is not whole."""
    digest, data = content[:_DIGEST], content[_DIGEST:]
    return data if digest == hashlib.sha256(data).digest() else b""
