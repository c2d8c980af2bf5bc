"""ROCm's releases: which one is here, of which stream, and whether two are mixed."""

from __future__ import annotations

import re

from forge.doctor import gather
from forge.doctor.facts import Unknown, Value, Version
from forge.doctor.snapshot import Snapshot

STREAMS = ("prod", "preview", "therock")
"""Releases of different streams are never compared: 7.9 to 7.11 were previews beside 7.1 and 7.2,
and from 7.12 on they are built by TheRock."""


def stream(release: Version) -> str:
    """The stream that a release belongs to."""
    if release < (7, 9):
        return "prod"
    return "preview" if release < (7, 12) else "therock"


def version(files: Snapshot) -> Value:
    """The release that is installed; None where there is none."""
    text = files.text(gather.ROCM_VERSION)
    if text is None:
        path = gather.ROCM_VERSION
        if not files.absent(path):
            return Unknown(files.why(path), "cat /opt/rocm/.info/version")
        return _of_library(library(files)) or _of_wheels(files)
    found = re.match(r"\d{1,4}(?:\.\d{1,6}){1,4}", text, re.ASCII)
    if not found:
        return Unknown(f"{text[:40]!r} is no version")
    return tuple(int(part) for part in found[0].split("."))


def _of_wheels(files: Snapshot) -> Version | None:
    """The release of ROCm's own Python packages, where they are installed."""
    for names in files.folders.values():
        for name in names:
            found = re.fullmatch(r"rocm(?:_sdk_core)?-(\d[\d.]{0,30})\S{0,40}\.dist-info", name)
            if found and (parts := re.findall(r"\d{1,6}", found[1])):
                return tuple(int(part) for part in parts)
    return None


def library(files: Snapshot) -> str | None:
    """The HIP library's file name with its full version, from the folder that is searched first."""
    for names in files.folders.values():
        found = [name for name in names if re.fullmatch(r"libamdhip64\.so[.\d]{0,40}", name)]
        if found:
            return max(found, key=len)
    return None


def mixed(files: Snapshot) -> Value:
    """Whether the HIP library found first is of another release than /opt/rocm says."""
    name = library(files)
    found = _of_library(name)
    if found is None:
        unnamed = Unknown("the HIP library's name has no release in it", "ls -l /opt/rocm/lib")
        return unnamed if name else None
    installed = version(files)
    if not isinstance(installed, tuple):
        return installed
    return found[:2] != installed[:2]


def _of_library(name: str | None) -> Version | None:
    """libamdhip64.so.6.2.60204 is of ROCm 6.2.4: the last number has two digits for each part.

    Distributions put a number of their own there, and then the first two are all there is.
    """
    parts = re.fullmatch(r"libamdhip64\.so\.(\d{1,3})\.(\d{1,4})\.(\d{1,6})", name or "", re.ASCII)
    if not parts:
        return None
    major, minor, packed = (int(part) for part in parts.groups())
    if packed // 10000 == major:
        return (major, packed // 100 % 100, packed % 100)
    return (major, minor)
