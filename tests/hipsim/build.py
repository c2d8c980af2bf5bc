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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
_LIBRARIES = {"libamdhip64.so": "driver", "libhiprtc.so": "compiler"}
_FLAGS = "-std=c++17 -O2 -fPIC -shared -fvisibility=hidden".split()
_STRICT = "-Wall -Wextra -Werror".split()


class BuildError(Exception):
    """The libraries could not be built; the message ends with the compiler's."""


def rocm_path(*, old: bool = False) -> Path:
    """The folder for ROCM_PATH, built if need be; `old` is a runtime of ROCm 5 (no R0600 names)."""
    options = [*_STRICT, *(["-DHIPSIM_OLD_RUNTIME"] if old else [])]
    return built(HERE, "old" if old else "sim", options, [HERE / "prelude"])


def environment(rocm: Path | None = None, **settings: object) -> dict[str, str]:
    """What a process needs to use the simulated driver; `fault="..."` is HIPSIM_FAULT and so on."""
    chosen = {f"HIPSIM_{name.upper()}": str(value) for name, value in settings.items()}
    return {"ROCM_PATH": str(rocm or rocm_path()), **chosen}


def built(sources: Path, name: str, options: Sequence[str], extras: Sequence[Path] = ()) -> Path:
    """A folder with lib/ of the two libraries, whose sources are driver/*.cpp and compiler/*.cpp.

    It is built once per content of the sources and options, by one process at a time; `extras` are
    folders that are copied beside lib/. Raises BuildError.
    """
    folder = _cache() / f"{name}-{_digest(sources, HERE, options=options)}"
    if not folder.exists():
        with _alone(folder.with_suffix(".lock")):
            if not folder.exists():
                _build(folder, sources, options, extras)
    return folder


def _digest(*folders: Path, options: Sequence[str] = ()) -> str:
    """Of all sources in these folders, and of what compiles them."""
    found = hashlib.sha256(repr((_compiler_version(), options)).encode())
    for folder in folders:
        for each in sorted(folder.rglob("*")):
            if each.suffix in (".cpp", ".h"):
                found.update(str(each.relative_to(folder)).encode() + b"\0" + each.read_bytes())
    return found.hexdigest()[:16]


def _build(folder: Path, sources: Path, options: Sequence[str], extras: Sequence[Path]) -> None:
    work = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        (work / "lib").mkdir()
        for extra in extras:
            shutil.copytree(extra, work / extra.name)
        (work / "version").write_text(_digest(*extras, sources / "compiler"))
        running = [
            subprocess.Popen(
                [
                    *("g++", *_FLAGS, *options, "-o", str(work / "lib" / library)),
                    *map(str, sorted((sources / part).glob("*.cpp"))),
                    *("-ldl", "-lpthread"),
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
            for library, part in _LIBRARIES.items()
        ]
        errors = [process.communicate()[1] for process in running]
        if any(process.returncode for process in running):
            raise BuildError("\n".join(errors))
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
