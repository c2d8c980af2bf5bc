"""Machine code of the kernels on disk, so that it is compiled once.

An entry is an object file. Its folder is named by all that the code depends on, so an entry is
never out of date: another version of anything has another folder. FORGE_CPU_CACHE says where those
folders are, if not in the user's cache.
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

VARIABLE = "FORGE_CPU_CACHE"
_PACKAGE = Path(__file__).parent
_BESIDE = ("formats.py", "isa.py", "kv.py")
"""What kernels import from beside them: sizes and layouts that become part of the code."""


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
    """In the user's cache folder, or where FORGE_CPU_CACHE says."""
    return CodeCache(caches() / _key(isa))


def caches() -> Path:
    """The folder of all caches of code."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else user_cache_path("forge") / "cpu-kernels"


def sources() -> list[Path]:
    """The files that the machine code is made from."""
    return sorted([*(_PACKAGE / "kernels").rglob("*.py"), *(_PACKAGE / name for name in _BESIDE)])


def _key(isa: Isa) -> str:
    """A hash of our sources, the compilers' versions and the processor."""
    from llvmlite import binding

    parts = [isa, version("numba"), version("llvmlite"), sys.version, binding.get_host_cpu_name()]
    parts += [name for name, present in sorted(host_features().items()) if present]
    known = hashlib.sha256("\0".join(parts).encode())
    for source in sources():
        known.update(f"\0{source.relative_to(_PACKAGE)}\0".encode())
        known.update(source.read_bytes())
    return known.hexdigest()[:32]
