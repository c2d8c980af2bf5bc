"""Build the simulated ROCm once per version of its sources.

`ROCM_PATH=$(python -m tests.hipsim.build)` is how a program is pointed at it.
The folder it prints is laid out as ROCm's own (lib/libamdhip64.so, lib/libhiprtc.so), so that
hip-python loads these in place of AMD's. g++ is all that is needed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
_LIBRARIES = {"libamdhip64.so": "driver", "libhiprtc.so": "compiler"}
_FLAGS = "-std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror".split()


class BuildError(Exception):
    """The libraries could not be built; the message ends with the compiler's."""


def rocm_path(*, old: bool = False) -> Path:
    """The folder for ROCM_PATH, built if need be; `old` is a runtime of ROCm 5 (no R0600 names)."""
    sources = sorted(each for each in HERE.rglob("*") if each.suffix in (".cpp", ".h"))
    digest = hashlib.sha256(repr((_compiler_version(), old)).encode())
    for each in sources:
        digest.update(each.relative_to(HERE).as_posix().encode() + b"\0" + each.read_bytes())
    folder = _cache() / f"{'old-' if old else ''}{digest.hexdigest()[:16]}"
    if not folder.exists():
        with _alone(folder.with_suffix(".lock")):
            if not folder.exists():
                _build(folder, old=old)
    return folder


def environment(rocm: Path | None = None, **settings: object) -> dict[str, str]:
    """What a process needs to see the simulated driver; `fault="..."` becomes HIPSIM_FAULT=..."""
    chosen = {f"HIPSIM_{name.upper()}": str(value) for name, value in settings.items()}
    return {"ROCM_PATH": str(rocm or rocm_path()), **chosen}


def _build(folder: Path, *, old: bool) -> None:
    work = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        (work / "lib").mkdir()
        shutil.copytree(HERE / "prelude", work / "prelude")
        running = [
            subprocess.Popen(
                [
                    *("g++", *_FLAGS, *(["-DHIPSIM_OLD_RUNTIME"] if old else [])),
                    *("-o", str(work / "lib" / library)),
                    *map(str, sorted((HERE / source).glob("*.cpp"))),
                    *("-ldl", "-lpthread"),
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
            for library, source in _LIBRARIES.items()
        ]
        for process in running:
            _, errors = process.communicate()
            if process.returncode:
                raise BuildError(errors)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compiler_version() -> str:
    try:
        return subprocess.run(
            ["g++", "-dumpfullversion"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"hipsim needs g++ (apt-get install g++): {error}") from error


def _cache() -> Path:
    base = os.environ.get("HIPSIM_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "forge-hipsim"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.stdout.write(f"{rocm_path()}\n")
