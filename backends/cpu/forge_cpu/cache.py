"""Machine code of the kernels on disk, so that it is compiled once.

An entry is an object file. Its folder is named by all that the code depends on, so an entry is
never out of date: another version of anything has another folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

from forge_cpu.isa import Isa, host_features

_SOURCES = Path(__file__).parent


class CodeCache:
    """Object files by name. Where the folder cannot be written nothing is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, name: str) -> bytes | None:
        """The code, if it is there, belongs to us, and is whole."""
        try:
            entry = self.folder / f"{name}.o"
            if entry.stat().st_uid != os.getuid():
                return None
            data = entry.read_bytes()
        except OSError:
            return None
        digest, code = data[:32], data[32:]
        return code if digest == hashlib.sha256(code).digest() else None

    def store(self, name: str, code: bytes) -> None:
        """Keep the code; a reader sees all of it or nothing."""
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(dir=self.folder, prefix=f".{name}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(code).digest() + code)
                Path(path).replace(self.folder / f"{name}.o")
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise


def default_cache(isa: Isa) -> CodeCache:
    """In the user's cache folder."""
    return CodeCache(user_cache_path("forge") / "cpu-kernels" / _key(isa))


def _key(isa: Isa) -> str:
    """A hash of our sources, the compilers' versions and the processor."""
    from llvmlite import binding

    parts = [isa, version("numba"), version("llvmlite"), sys.version, binding.get_host_cpu_name()]
    parts += [name for name, present in sorted(host_features().items()) if present]
    known = hashlib.sha256("\0".join(parts).encode())
    for source in sorted(_SOURCES.rglob("*.py")):  # the kernels import numbers from beside them
        known.update(f"\0{source.relative_to(_SOURCES)}\0".encode())
        known.update(source.read_bytes())
    return known.hexdigest()[:32]
