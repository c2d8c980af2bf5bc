"""Takes out of foreign text what says whose machine it is, and what a person wrote."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
_DRIVERS = re.compile(
    r"(?i)^\W{0,3}(?:\[\s{0,8}\d|\d{1,4}[.:]|:\d:|amdgpu|kfd|drm|hsa|hip|rocr|rocm|rocblas|hipblas|miopen|"
    r"radv|mesa|vulkan|vk|llvm|error:|warning:|failed|could not|unable|assertion|terminate|"
    r"memory access fault|memory critical|hw exception|traceback|fatal|segmentation|abort|"
    r'thread 0x|current thread|file ")'
)
_QUOTED = re.compile(r"""(["'`«“])(?:(?!\1).){12,}""")


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
        """Without identities; paths outside of the drivers' own folders keep their last part."""
        for home in self._homes:
            text = text.replace(home, "~")
        text = _PATH.sub(_short, text)
        for pattern, instead in (*self._words, *_IDENTITIES):
            if pattern:
                text = pattern.sub(instead, text)
        return text

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Of what a worker printed, what looks like a driver's line; the rest might be a prompt."""
        return [self._line(line) for line in lines]

    def _line(self, line: str) -> str:
        if not _DRIVERS.search(line[:200].strip()):
            return f"(a line of {len(line)} characters, left out)"
        return self.text(_QUOTED.sub(r"\1…", line) if 'File "' not in line else line)

    def values(self, value: Any) -> Any:
        """Every text in a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {str(key): self.values(part) for key, part in value.items()}
        return [self.values(part) for part in value] if isinstance(value, list | tuple) else value


def _short(path: re.Match[str]) -> str:
    whole = path[0]
    if whole.startswith(_PUBLIC) or whole.count("/") < 2:
        return whole
    return f"…/{whole.rstrip('/').rpartition('/')[2]}"


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
    found = []
    for path in ("etc/hostname", "proc/sys/kernel/hostname"):
        try:
            handle = os.open(root / path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        with open(handle, "rb") as file:
            try:
                found.append(file.read(256).decode(errors="replace").strip())
            except OSError:
                continue
    return found
