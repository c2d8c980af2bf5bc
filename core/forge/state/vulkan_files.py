"""The Vulkan drivers that the loader would find, by their files: no driver is loaded.

Where they are listed: the loader's documentation, LoaderDriverInterface.md, "Driver Discovery".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from forge.state.small_files import head

_SYSTEM = (
    "etc/vulkan/icd.d",
    "usr/local/share/vulkan/icd.d",
    "usr/share/vulkan/icd.d",
    "run/opengl-driver/share/vulkan/icd.d",  # NixOS
)
_LIBRARIES = (
    "usr/lib64",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/local/lib",
)
_MOST_BYTES = 65536
_MOST_FILES = 256


def driver_libraries(root: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """A line for each driver: the library's path, size in bytes and time of change."""
    for manifest in _manifests(root, variables):
        for library in _places(root, manifest):
            try:
                seen = library.stat()
            except (OSError, ValueError):  # a name may be no Unicode
                continue
            yield f"{library} {seen.st_size} {seen.st_mtime_ns}"
            break


def _manifests(root: Path, variables: Mapping[str, str]) -> list[Path]:
    """The JSON files that the loader would read: VK_DRIVER_FILES is instead of the system's."""
    instead = variables.get("VK_DRIVER_FILES") or variables.get("VK_ICD_FILENAMES")
    added = variables.get("VK_ADD_DRIVER_FILES", "")
    named = [root / path.lstrip("/") for path in (instead or added).split(os.pathsep) if path]
    if not instead:
        named += [root / folder for folder in _SYSTEM]
        if home := variables.get("XDG_DATA_HOME") or variables.get("HOME"):
            mine = "" if variables.get("XDG_DATA_HOME") else ".local/share"
            named.append(root / home.lstrip("/") / mine / "vulkan/icd.d")
    found: list[Path] = []
    for path in named:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
        except OSError:
            continue
        found += [file for file in inside if file.suffix == ".json"]
    return found[:_MOST_FILES]


def _places(root: Path, manifest: Path) -> list[Path]:
    """Where the library may be that a manifest names; the manifest itself if none is there."""
    try:
        named = json.loads(head(manifest, _MOST_BYTES))["ICD"]["library_path"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return [manifest]
    if not isinstance(named, str) or "\0" in named:
        return [manifest]
    if named.startswith("/"):
        return [root / named.lstrip("/"), manifest]
    if "/" in named:
        return [manifest.parent / named, manifest]
    return [*(root / folder / named for folder in _LIBRARIES), manifest]
