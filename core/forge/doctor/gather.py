"""Reads the files that facts come from, as a throw-away program of its own.

    python -I -S gather.py ROOT MODE SKIP...

A read of a sick device's sysfs can block for ever, in state D, where not even SIGKILL ends the
process; so another process than forge does it, and says beforehand what it is about to touch. Its
output is a line of JSON for each step: ["?", path] before, then [kind, path, value], at last
["end"]. Kinds: "text", "names" (of a folder), "access" ([exists, allowed, group]), "error" (its
name in errno.h).

It imports nothing but the standard library's smallest parts: it is started at every start of forge
on a machine with an AMD GPU. What it reads takes no root and wakes no sleeping device, except
what MODE "full" adds.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator

_BYTES = 64 << 10
_ENTRIES = 4096
DISPLAY_CLASSES = ("0x03", "0x12")
"""PCI classes of GPUs: display controllers, and processing accelerators."""
AMD = "0x1002"
DEVICES = "sys/bus/pci/devices"
NODES = "sys/class/kfd/kfd/topology/nodes"
KFD_PROCESSES = "sys/class/kfd/kfd/proc"
PARAMETERS = ("sys/module/amdgpu/parameters", "sys/module/ttm/parameters")
ICD_FOLDERS = ("usr/share/vulkan/icd.d", "etc/vulkan/icd.d", "usr/local/share/vulkan/icd.d")
HIP_FOLDERS = ("opt/rocm/lib", "usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib")
ROCM_VERSION = "opt/rocm/.info/version"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MACHINE = (
    "proc/sys/kernel/osrelease",
    "proc/cmdline",
    "proc/meminfo",
    "proc/sys/kernel/dmesg_restrict",
    "sys/module/amdgpu/version",
    "sys/module/amdgpu/initstate",
    ROCM_VERSION,
    SECURE_BOOT,
    "etc/os-release",
)
MEMORY = ("mem_info_vram_total", "mem_info_vram_used", "mem_info_gtt_total", "mem_info_gtt_used")
PYTHON_PATH = "FORGE_DOCTOR_PATH"
"""The variable with the folders of Python packages: this program has no site-packages itself."""
CONTAINERS = (".dockerenv", "run/.containerenv", "run/systemd/container")


class Reader:
    """Touches files under a root, saying so before and after."""

    def __init__(self, root: str, skip: list[str]) -> None:
        self._root = root
        self._skip = skip

    def text(self, path: str) -> str:
        """A file's beginning; "" where there is none to be had."""
        return str(self._step("text", path, self._text) or "")

    def names(self, path: str) -> list[str]:
        """A folder's entries in order; none where there is no such folder."""
        found = self._step("names", path, self._names)
        return found if isinstance(found, list) else []

    def access(self, path: str) -> None:
        """Whether it exists, whether we may read and write it, and whose group it is."""
        self._step("access", path, self._access)

    def _step(self, kind: str, path: str, act: Callable[[str], object]) -> object:
        if any(path == hung or path.startswith(hung + "/") for hung in self._skip):
            return None
        _say(["?", path])
        try:
            value = act(os.path.join(self._root, path))
        except OSError as error:
            _say(["error", path, errno.errorcode.get(error.errno or 0, "EIO")])
            return None
        except ValueError:  # a null character in a name
            _say(["error", path, "EINVAL"])
            return None
        _say([kind, path, value])
        return value

    def _text(self, path: str) -> str:
        with open(path, "rb") as file:
            return file.read(_BYTES).decode("latin-1")

    def _names(self, path: str) -> list[str]:
        found: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                found.append(entry.name.encode(errors="replace").decode())
                if len(found) == _ENTRIES:
                    break
        return sorted(found)

    def _access(self, path: str) -> list[object]:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return [False, False, -1]
        allowed = not stat.S_ISDIR(status.st_mode) and os.access(path, os.R_OK | os.W_OK)
        return [True, allowed, status.st_gid]


def _say(step: list[object]) -> None:
    sys.stdout.write(json.dumps(step) + "\n")
    sys.stdout.flush()


def gather(read: Reader, full: bool) -> None:
    """Everything, what is quick and dependable first."""
    for path in MACHINE:
        read.text(path)
    for path in CONTAINERS:
        read.access(path)
    read.names("sys/module/amdgpu")
    for folder in PARAMETERS:
        for name in read.names(folder):
            read.text(f"{folder}/{name}")
    read.access("dev/kfd")
    for folder in os.environ.get(PYTHON_PATH, "").split(":"):
        if folder.startswith("/"):
            read.names(folder.strip("/"))
    for node in read.names(NODES):
        read.text(f"{NODES}/{node}/properties")
    for path in _gpus(read):
        _gpu(read, path)
        if full:
            _load(read, path)
    if full:
        _libraries(read)
        for process in read.names(KFD_PROCESSES):
            for name in read.names(f"{KFD_PROCESSES}/{process}"):
                if name.startswith("stats_"):
                    read.text(f"{KFD_PROCESSES}/{process}/{name}/evicted_ms")


def _gpus(read: Reader) -> Iterator[str]:
    """The folders of AMD's GPUs; of others only what they are."""
    for address in read.names(DEVICES):
        folder = f"{DEVICES}/{address}"
        if read.text(f"{folder}/class").startswith(DISPLAY_CLASSES):
            read.text(f"{folder}/device")
            if read.text(f"{folder}/vendor").strip() == AMD:
                yield folder


def _gpu(read: Reader, folder: str) -> None:
    read.text(f"{folder}/power/runtime_status")
    for name in read.names(f"{folder}/fw_version"):
        read.text(f"{folder}/fw_version/{name}")
    for name in (*MEMORY, "vbios_version", "product_name"):
        read.text(f"{folder}/{name}")
    read.names(f"{folder}/devcoredump")
    for name in read.names(f"{folder}/drm"):
        if name.startswith("renderD"):
            read.access(f"dev/dri/{name}")
        elif name.startswith("card"):
            for connector in read.names(f"{folder}/drm/{name}"):
                if connector.startswith(f"{name}-"):
                    read.text(f"{folder}/drm/{name}/{connector}/status")


def _load(read: Reader, folder: str) -> None:
    """How busy it is; this asks the device itself, so a sleeping one is left alone."""
    if read.text(f"{folder}/power/runtime_status").strip() not in ("active", "unsupported"):
        return
    read.text(f"{folder}/gpu_busy_percent")
    for name in read.names(f"{folder}/hwmon"):
        for value in ("power1_average", "power1_input", "power1_cap", "freq1_input"):
            read.text(f"{folder}/hwmon/{name}/{value}")


def _libraries(read: Reader) -> None:
    paths = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    for folder in (*(p.strip("/") for p in paths if p.startswith("/")), *HIP_FOLDERS):
        if any(name.startswith("libamdhip64.so") for name in read.names(folder)):
            break
    for folder in ICD_FOLDERS:
        read.names(folder)


def main() -> None:
    """The program: root, mode, and what is known to hang."""
    root, mode, *skip = sys.argv[1:]
    gather(Reader(root, skip), mode == "full")
    _say(["end"])


if __name__ == "__main__":
    main()
