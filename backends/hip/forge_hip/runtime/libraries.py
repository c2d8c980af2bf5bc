"""Finds ROCm's libraries: of a wheel, under ROCM_PATH, and as distributions name them.

The binding looks for `libamdhip64.so` alone. That name comes with the -dev packages; whoever has
just the runtime has `libamdhip64.so.6`, and whoever has ROCm's own wheels has it in their folder.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HIP, HIPRTC = "amdhip64", "hiprtc"

_FOLDERS = (
    *("/opt/rocm/lib", "/opt/rocm/lib64"),
    *("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"),
)
_WHEELS = ("_rocm_sdk_core*/lib", "_rocm_sdk_libraries*/lib", "rocm/lib", "rocm_sdk_core/lib")
"""Folders of site-packages in which ROCm's wheels put libraries."""


def find(
    name: str, environ: Mapping[str, str] | None = None, root: str = "/", near: str = ""
) -> str:
    """The path of the library lib`name`, "" if there is none.

    In this order: ROCM_PATH and ROCM_HOME, `near` (the folder of another one of the same release),
    wheels, conda, LD_LIBRARY_PATH, /opt/rocm* and the system's folders. `root` is for tests. In a
    folder the plain name comes first, then the highest version.
    """
    given = os.environ if environ is None else environ
    for folder in _folders(given, root, near):
        if found := _in_folder(folder, name):
            return str(found)
    return ""


def pair(environ: Mapping[str, str] | None = None, root: str = "/") -> tuple[str, str]:
    """HIP's library and hiprtc's, of one release where possible; "" for what is not there.

    ROCm 5 has hiprtc's functions in HIP's own library, and then it stands for both.
    """
    hip = find(HIP, environ, root)
    near = str(Path(os.path.realpath(hip)).parent) if hip else ""
    hiprtc = find(HIPRTC, environ, root, near)
    if hip and major(hip) == 5 and (not hiprtc or major(hiprtc) not in (None, 5)):
        hiprtc = hip
    return hip, hiprtc


def major(path: str) -> int | None:
    """The release that a library's full name tells: 6 of libamdhip64.so.6.2.60204."""
    found = re.search(r"\.so\.(\d{1,3})(?:\.|$)", os.path.realpath(path), re.ASCII)
    return int(found[1]) if found else None


def _folders(environ: Mapping[str, str], root: str, near: str) -> Iterator[Path]:
    for variable in ("ROCM_PATH", "ROCM_HOME"):
        if given := environ.get(variable):
            yield from (Path(given) / "lib", Path(given) / "lib64")
    if near:
        yield Path(near)
    yield from _wheels(sys.path)
    yield Path(sys.prefix) / "lib"  # conda's
    yield from (Path(p) for p in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if p)
    base = Path(root)
    yield from (base / folder.lstrip("/") for folder in _FOLDERS)
    yield from sorted(base.glob("opt/rocm-*/lib"), key=_version, reverse=True)


def _wheels(paths: Sequence[str]) -> Iterator[Path]:
    for path in paths:
        if path.endswith(("site-packages", "dist-packages")):
            for pattern in _WHEELS:
                yield from sorted(Path(path).glob(pattern))


def _in_folder(folder: Path, name: str) -> Path | None:
    plain = folder / f"lib{name}.so"
    if plain.exists():
        return plain
    versioned = [p for p in folder.glob(f"lib{name}.so.*") if p.exists()]
    return max(versioned, key=_version, default=None)


def _version(path: Path) -> tuple[int, ...]:
    """Numbers in the order in which people count them: .so.10 is after .so.6."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", str(path), re.ASCII))
