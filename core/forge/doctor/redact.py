"""Takes out of foreign text what says whose machine it is, and what a person wrote."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from forge.doctor.files import read_some
from forge.doctor.signatures import scan

_IDENTITIES = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\bGPU-[0-9a-f]{8,32}\b", re.IGNORECASE), "GPU-<id>"),
    (
        re.compile(r"(?<![0-9a-f:.])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:])", re.IGNORECASE),
        "<mac>",
    ),
    (re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"), "<address>"),
    (
        re.compile(
            r"(?i)\b(serial(?:[ _-]?(?:number|no))?|unique[_ -]?id|s/n)(\W{1,4})[\w-]{3,64}"
        ),
        r"\1\2<serial>",
    ),
    (re.compile(r"(?i)\b(process|thread|task|comm|for) [^\s,;]{1,64} (pid|tid)"), r"\1 <name> \2"),
    (re.compile(r"\b[\w-]{1,60}\[\d{1,10}\]:"), "<name>[pid]:"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}"), "<mail>"),
)
_PATH = re.compile(r"(?<![\w.])~?(?:/[\w.@+-]{1,255})+/?")
_PUBLIC = ("/dev/", "/sys/", "/proc/", "/opt/rocm", "/usr/lib", "/usr/share/vulkan", "/lib/")
_TELLING = re.compile(r"[\w.+-]{1,80}\.(?:py|so[.\d]{0,20}|hip|cpp|c|h)")
_DRIVERS = re.compile(
    r"\W{0,3}(?::\d:hip|amdgpu|kfd|drm|hsa_|HSA_|hip[A-Z]|HIP error|rocr|rocBLAS|hipBLAS|MIOpen|"
    r"radv|MESA|vk::|VK_|LLVM ERROR|terminate called|Memory access fault|Memory critical|"
    r'HW Exception|Segmentation fault|Aborted|Traceback|Thread 0x|Current thread|File ")'
)
_KERNEL = re.compile(
    r"(?:amdgpu|kfd|amdkfd|\[drm|radeon|pcieport|AMD-Vi|amd_iommu|iommu|snd_hda)\b"
)
_ERROR = re.compile(r"[\w.]{1,80}(?:Error|Exception|Hung|Lost)\b")
_QUOTED = re.compile(r"""(["'`«“])(?:(?!\1).){12,}""")
_PLAIN = re.compile(r"[\w.,:;=+/~-]{0,100}")


class Redactor:
    """Knows whose machine this is: home folder, names of the user and of the host."""

    def __init__(self, environ: Mapping[str, str], root: Path = Path("/")) -> None:
        homes = {environ.get("HOME", ""), os.path.expanduser("~"), environ.get("USERPROFILE", "")}
        self._homes = sorted((home for home in homes if len(home) > 1), key=len, reverse=True)
        names = {environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
        names |= {Path(home).name for home in self._homes} | {_login()} - {"root"}
        hosts = {os.uname().nodename, environ.get("HOSTNAME", ""), *_host_names(root)}
        hosts |= {host.partition(".")[0] for host in hosts}
        self._words = [
            (_words(hosts - {"localhost"}), "<host>"),
            (_words(names - {"root"}), "<user>"),
        ]

    def text(self, text: str) -> str:
        """Without identities; of paths outside of the drivers' own folders next to nothing."""
        for home in self._homes:
            text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
        text = _PATH.sub(_short, text)
        for pattern, instead in (*self._words, *_IDENTITIES):
            if pattern:
                text = pattern.sub(instead, text)
        return text

    def kernel_line(self, line: str) -> str:
        """A line of the kernel's log; "" where it is not the graphics drivers' own."""
        return self.text(line) if _KERNEL.match(line) else ""

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Of what a worker printed, what looks like a driver's line; the rest might be a prompt."""
        return [self._line(line) for line in lines]

    def _line(self, line: str) -> str:
        if 'File "' in line[:80]:
            return self.text(line)
        if _DRIVERS.match(line) or scan([line], "stderr"):
            return self.text(_QUOTED.sub(r"\1…\1", line))
        error = _ERROR.match(line)
        return error[0] if error else f"(a line of {len(line)} characters, left out)"

    def setting(self, value: str) -> str:
        """An environment variable's value, unless a person wrote more than a value there."""
        return self.text(value) if _PLAIN.fullmatch(value) else "<left out>"

    def values(self, value: Any) -> Any:
        """Every text in a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {str(key): self.values(part) for key, part in value.items()}
        return [self.values(part) for part in value] if isinstance(value, list | tuple) else value


def _short(path: re.Match[str]) -> str:
    """A path of the drivers as it is; of others the name at most, if it is a program's."""
    whole = path[0]
    if whole.startswith(_PUBLIC) or whole.count("/") < 2:
        return whole
    name = whole.rpartition("/")[2]
    if _TELLING.fullmatch(name):
        return f"…/{name}"
    return f"<path>.{name.rpartition('.')[2][:8]}" if "." in name else "<path>"


def _words(names: Iterable[str]) -> re.Pattern[str] | None:
    kept = sorted({name for name in names if name}, key=len, reverse=True)
    joined = "|".join(map(re.escape, kept))
    return (
        re.compile(rf"(?<![A-Za-z0-9])(?:{joined})(?![A-Za-z0-9])", re.IGNORECASE) if kept else None
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _host_names(root: Path) -> list[str]:
    files = (read_some(root / path, 256) for path in ("etc/hostname", "proc/sys/kernel/hostname"))
    return [raw.decode(errors="replace").strip() for raw in files if raw]
