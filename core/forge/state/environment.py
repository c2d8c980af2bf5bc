"""What is known of the machine before a device is opened: reads of small static files, no more."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from forge._version import __version__
from forge.state.small_files import line, names
from forge.state.vulkan_files import driver_libraries

ROOT = Path("/")
_GPU_CLASSES = ("0x03", "0x12")  # display controllers; processing accelerators, such as an MI300
_LIBRARIES = ("usr/lib64", "usr/lib", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
_HIP_VERSIONS = range(5, 10)


def environment(
    root: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    packages: Sequence[str] | None = None,
) -> dict[str, str]:
    """The parts of a key that hold for every backend; what is unknown is "".

    kernel: its release. firmware: a digest of what amdgpu says its firmware and VBIOS are.
    rocm: versions of the system's ROCm and of Python's. vulkan: a digest of the drivers' names,
    sizes and times. gpus: vendor:device of each. forge: its version.

    root, variables, packages: the file system, os.environ and sys.path, which a test may replace.
    """
    variables = os.environ if variables is None else variables
    return {
        "kernel": line(root / "proc/sys/kernel/osrelease") or _release(root),
        "firmware": _digest(_firmware(root)),
        "rocm": ", ".join(_rocm(root, variables, sys.path if packages is None else packages)),
        "vulkan": _digest(driver_libraries(root, variables)),
        "gpus": ",".join(sorted(_gpus(root))),
        "forge": __version__,
    }


def openable(root: Path = ROOT) -> str:
    """Names of the GPUs' nodes that this process may open: a person may join a group later."""
    nodes = [Path("dev/dri", name) for name in names(root / "dev/dri") if name.startswith("render")]
    nodes += [
        Path("dev", name) for name in names(root / "dev") if name.startswith(("kfd", "nvidia"))
    ]
    return ",".join(sorted(n.name for n in nodes if os.access(root / n, os.R_OK | os.W_OK)))


def _release(root: Path) -> str:
    return os.uname().release if root == ROOT else ""


def _firmware(root: Path) -> Iterator[str]:
    """One line a version; a device is known by what it is, as numbers of cards change at boot."""
    for card in names(root / "sys/class/drm"):
        if not (card.startswith("card") and card[4:].isdigit()):
            continue
        device = root / "sys/class/drm" / card / "device"
        of = f"{line(device / 'vendor')}:{line(device / 'device')}"
        if version := line(device / "vbios_version"):
            yield f"{of} vbios {version}"
        for name in names(device / "fw_version"):
            yield f"{of} {name} {line(device / 'fw_version' / name)}"


def _rocm(root: Path, variables: Mapping[str, str], packages: Sequence[str]) -> Iterator[str]:
    places = [root / "opt/rocm"]
    if given := variables.get("ROCM_PATH"):
        places.insert(0, root / given.lstrip("/"))
    for place in places:
        if version := line(place / ".info/version"):
            yield version
            break
    else:  # a distribution's own package has no such file, but its library's name has the version
        for library in _hip_libraries(root):
            yield library
            break
    for folder in filter(None, packages):
        for name in names(Path(folder)):
            distribution, _, version = name.removesuffix(".dist-info").partition("-")
            if name.endswith(".dist-info") and distribution in ("rocm", "rocm_sdk_core"):
                yield f"{distribution} {version}"


def _hip_libraries(root: Path) -> Iterator[str]:
    for folder in _LIBRARIES:
        for version in _HIP_VERSIONS:
            with suppress(OSError):
                yield os.path.basename(os.readlink(root / folder / f"libamdhip64.so.{version}"))


def _gpus(root: Path) -> Iterator[str]:
    devices = root / "sys/bus/pci/devices"
    for address in names(devices):
        device = devices / address
        if line(device / "class").startswith(_GPU_CLASSES):
            vendor, model = (line(device / name) for name in ("vendor", "device"))
            yield f"{vendor.removeprefix('0x')}:{model.removeprefix('0x')}"


def _digest(lines: Iterator[str]) -> str:
    """Of what is there, in any order; "" of nothing."""
    if not (known := sorted(lines)):
        return ""
    text = "\n".join(known).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
