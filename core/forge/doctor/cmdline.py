"""The kernel's command line: which graphics parameters it has, and which have no effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

_PREFIXES = ("amdgpu", "ttm", "amdttm", "pcie_aspm")
_WHOLE = ("iommu", "amd_iommu", "pcie_aspm", "pci", "nomodeset")
_ALIKE = 0.8


def graphics(arguments: str) -> list[tuple[str, str]]:
    """(name, value) of what concerns GPUs, what looks like a misspelling of it included.

    Everything else, such as the names of disks, is nobody's business.
    """
    found = []
    for word in arguments[: 64 << 10].split():
        name, _, value = word.partition("=")
        module, dot, _ = name.partition(".")
        if name in _WHOLE or (dot and (module in _PREFIXES or _misspelt(module))):
            found.append((name[:80], value[:80]))
    return found


def ineffective(arguments: str, read: Mapping[str, str], known: set[str]) -> list[str]:
    """Those for amdgpu whose parameter does not exist, or reads differently.

    read: the parameters' values; known: the names of all of them, unreadable ones included.
    """
    last = dict(graphics(arguments))  # the last one of a name wins
    wrong = []
    for name, value in last.items():
        module, dot, parameter = name.partition(".")
        if not dot or (module != "amdgpu" and not _misspelt(module)):
            continue
        unread = read.get(parameter, value)  # only root may read some of them
        if module != "amdgpu" or parameter not in known or not same(value, unread):
            wrong.append(name)
    return wrong


def same(given: str, read: str) -> bool:
    """Whether a parameter reads as it was given.

    The driver cuts a list at its commas while it reads it, so a first part is enough. A name
    without a value switches it on.
    """
    return _plain(given or "1") == _plain(read) or (bool(read) and given.startswith(f"{read},"))


def _plain(text: str) -> str | int:
    if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text, re.ASCII):
        return int(text, 16)
    return {"y": 1, "n": 0}.get(text.lower(), text)


def _misspelt(module: str) -> bool:
    if module in _PREFIXES or len(module) > 12:
        return False
    return SequenceMatcher(None, module, "amdgpu", autojunk=False).ratio() >= _ALIKE
