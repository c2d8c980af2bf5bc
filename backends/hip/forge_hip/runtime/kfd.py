"""AMD's GPUs as the kernel lists them (KFD's topology), read before any driver is loaded.

ROCm's libraries look at ROCR_VISIBLE_DEVICES when they are loaded, and then they have opened
whatever they were not told to leave alone: an integrated GPU beside a card brings them down
(llama.cpp#22013), so which one it is has to be known before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NODES = "sys/class/kfd/kfd/topology/nodes"
DEVICE = "dev/kfd"
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Node:
    """One GPU: `index` counts KFD's GPUs; `unique` is its own number, 0 where it has none.

    `reachable`: this process may open its render node; containers are often given one of several.
    """

    index: int
    address: str
    arch: str
    unique: int
    simds: int
    reachable: bool = True

    @property
    def selector(self) -> str:
        """What ROCR_VISIBLE_DEVICES takes for it: its UUID, else its place."""
        return f"GPU-{self.unique:016x}" if self.unique else str(self.index)

    @property
    def rank(self) -> tuple[bool, int]:
        """The larger the better; a card has a number of its own, an integrated GPU none."""
        return bool(self.unique), self.simds


def nodes(root: str = "/") -> list[Node]:
    """All that can be read; none where there is no KFD."""
    found: list[Node] = []
    folder = Path(root) / NODES
    try:
        names = sorted((n for n in os.listdir(folder) if re.fullmatch("[0-9]{1,6}", n)), key=int)
    except OSError:
        return []
    for name in names:
        values = _properties(folder / name / "properties")
        if values.get("simd_count"):
            found.append(_node(len(found), values, Path(root)))
    return found


def arch_of(version: int) -> str:
    """The instruction set of KFD's gfx_target_version: gfx1100 is 110000; "" for 0."""
    if version <= 0:
        return ""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def overridden(environ: Mapping[str, str]) -> str:
    """The instruction set that HSA_OVERRIDE_GFX_VERSION has ROCm believe in; "" without it."""
    text = environ.get("HSA_OVERRIDE_GFX_VERSION", "").strip()
    parts = re.fullmatch(r"(\d{1,3})\.(\d{1,2})\.(\d{1,2})", text, re.ASCII)
    if not parts:
        return ""
    return arch_of(int(parts[1]) * 10000 + int(parts[2]) * 100 + int(parts[3]))


def why_none(root: str = "/") -> str:
    """What to do where ROCm finds no device, as far as files tell."""
    path = Path(root) / DEVICE
    if not path.exists():
        return (
            "there is no /dev/kfd: the amdgpu kernel driver is not loaded, or this container was "
            "started without --device=/dev/kfd --device=/dev/dri"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return "/dev/kfd may not be opened: sudo usermod -aG render,video $USER, and log in again"
    if not nodes(root):
        return "the kernel lists no GPU for compute (KFD's topology has none)"
    return "the kernel has a GPU for it, so that ROCm's own libraries may be too old for this GPU"


def best(found: Sequence[Node]) -> Node | None:
    """The one to open where nobody said which."""
    return max(found, key=lambda node: (node.rank, -node.index), default=None)


def _node(index: int, values: Mapping[str, int], root: Path) -> Node:
    place, domain = values.get("location_id", 0), values.get("domain", 0)
    return Node(
        index,
        f"{domain:04x}:{place >> 8 & 255:02x}:{place >> 3 & 31:02x}.{place & 7}",
        arch_of(values.get("gfx_target_version", 0)),
        values.get("unique_id", 0),
        values["simd_count"],
        _reachable(root, values.get("drm_render_minor", 0)),
    )


def _reachable(root: Path, minor: int) -> bool:
    """Whether its render node can be opened; True where the kernel does not name one."""
    return not minor or os.access(root / f"dev/dri/renderD{minor}", os.R_OK | os.W_OK)


def _properties(path: Path) -> dict[str, int]:
    try:
        with path.open(errors="replace") as file:
            text = file.read(_LARGEST)
    except OSError:
        return {}
    lines = re.findall(r"^(\w{1,60}) (\d{1,20})$", text, re.MULTILINE | re.ASCII)
    return {name: int(value) for name, value in lines}
