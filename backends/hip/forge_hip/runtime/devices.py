"""Which GPU is opened, and what the driver says of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge.backend import BackendUnavailable, Device
from forge_hip.runtime import kfd
from forge_hip.runtime.driver import Driver

VISIBLE = (
    *("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "GPU_DEVICE_ORDINAL",
)
"""A person's own choice, all of which HIP obeys, and which forge leaves as it is."""
SIMULATED = "Simulated"
"""How the name of the simulated driver's device begins."""
SUPPORTED = re.compile(r"gfx(103[0-6]|110[0-3]|115[0-3]|120[01])")
"""Instruction sets that the kernels are for: RDNA2, RDNA3, RDNA3.5, RDNA4."""

_SHORT_ADDRESS = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@dataclass(frozen=True, slots=True)
class Properties:
    """What the driver says of a device. Memory is in bytes, `shared` that of a work group.

    `arch` is the instruction set without its features ("gfx1100").
    """

    index: int
    name: str
    arch: str
    address: str
    memory: int
    compute_units: int
    shared: int
    wave: int
    integrated: bool

    @property
    def kind(self) -> str:
        """As `forge.backend.Device` has it."""
        if self.name.startswith(SIMULATED):
            return "software"
        return "integrated" if self.integrated else "discrete"


def narrow(
    wanted: str | None, environ: MutableMapping[str, str] | None = None, root: str = "/"
) -> kfd.Node | None:
    """Before the driver is loaded: have it see the one GPU that is to be opened.

    None where there is nothing to choose: KFD lists less than two, or the person has chosen by
    environment. One that the name does not fit is BackendUnavailable, with a list.
    """
    given = os.environ if environ is None else environ
    found = kfd.nodes(root)
    if any(given.get(name) is not None for name in VISIBLE):
        return None
    usable = [node for node in found if node.reachable] or found
    node = kfd.best(usable) if wanted is None else _matching(found, wanted)
    if node is None or len(found) < 2:
        return node
    given["ROCR_VISIBLE_DEVICES"] = node.selector
    return node


def _matching(found: Sequence[kfd.Node], wanted: str) -> kfd.Node | None:
    """The node of an id, an address or an instruction set; None leaves names to the driver."""
    text = _address(wanted)
    for node in found:
        if text in (str(node.index), node.address, node.selector.lower()):
            return node
    same = [node for node in found if text == node.arch]
    if len(same) == 1:
        return same[0]
    if len(found) > 1 and (same or re.fullmatch(r"[0-9]+|[0-9a-f:.]+\.[0-7]|gpu-.*|gfx.*", text)):
        known = ", ".join(f"{n.index} ({n.arch}, {n.address})" for n in found)
        raise BackendUnavailable(f"there is no one AMD GPU {wanted!r}; there are: {known}")
    return None


def read(driver: Driver, index: int, nodes: Sequence[kfd.Node] = ()) -> Properties:
    """Ask the driver; one of ROCm 5, without its newer properties, is asked one by one."""
    address = _of_pci(driver, index)
    if driver.has("hipGetDeviceProperties"):
        found = driver.properties(index)
        return Properties(
            index=index,
            name=_text(found.name),
            arch=_text(found.gcnArchName).partition(":")[0],
            address=address,
            memory=int(found.totalGlobalMem),
            compute_units=int(found.multiProcessorCount),
            shared=int(found.sharedMemPerBlock),
            wave=int(found.warpSize),
            integrated=bool(found.integrated),
        )
    known = {node.address: node.arch for node in nodes}
    arch = kfd.overridden(os.environ) or known.get(address, "")

    def ask(name: str) -> int:
        return int(driver.call("hipDeviceGetAttribute", driver.attribute(name), index))

    return Properties(
        index=index,
        name=_text(driver.call("hipDeviceGetName", 256, index)),
        arch=arch,
        address=address,
        memory=int(driver.call("hipDeviceTotalMem", index)),
        compute_units=ask("MultiprocessorCount"),
        shared=ask("MaxSharedMemoryPerBlock"),
        wave=ask("WarpSize"),
        integrated=bool(ask("Integrated")),
    )


def choose(listed: Sequence[Properties], wanted: str | None, node: kfd.Node | None) -> Properties:
    """Of what the driver shows, the one to open.

    `node` is what it was narrowed down to: the driver's own word, hipDeviceGetPCIBusId, has to
    agree, or work would go to another GPU than the one that is watched.
    """
    if node is not None:
        for one in listed:
            if one.address == node.address:
                return one
        if any(one.address for one in listed):
            raise BackendUnavailable(
                f"forge asked ROCm for the GPU at {node.address}, and it shows "
                f"{_names(listed)}: set ROCR_VISIBLE_DEVICES to the one you want"
            )
    if wanted is not None and (node is None or not node.address):
        return _named(listed, wanted)
    cards = [one for one in listed if one.kind == "discrete"]
    return (cards or list(listed))[0]


def _named(listed: Sequence[Properties], name: str) -> Properties:
    wanted = _address(name)
    for one in listed:
        if wanted and wanted in (str(one.index), one.address):
            return one
    found = [one for one in listed if wanted and wanted in f"{one.name} {one.arch}".lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise BackendUnavailable(
            f"{name!r} fits several: give an id or an address of {_names(found)}"
        )
    raise BackendUnavailable(f"there is no HIP device {name!r}; there are: {_names(listed)}")


def presented(one: Properties, driver: str, node: kfd.Node | None) -> Device:
    """As forge shows it."""
    number = one.index if node is None else node.index
    return Device(one.name, one.kind, str(number), driver, one.address)


def hidden(node: kfd.Node) -> Device:
    """As forge shows a GPU that the driver was not shown."""
    return Device(f"AMD {node.arch or 'GPU'}", "discrete", str(node.index), "", node.address)


def _names(listed: Sequence[Properties]) -> str:
    return ", ".join(f"{one.index} ({one.name}, {one.arch}, {one.address})" for one in listed)


def _address(name: str) -> str:
    text = name.strip().lower()
    return f"0000:{text}" if _SHORT_ADDRESS.fullmatch(text) else text


def _of_pci(driver: Driver, index: int) -> str:
    """Its address; "" where the driver does not tell, as a simulated one may not."""
    if (found := driver.tried("hipDeviceGetPCIBusId", 64, index)) is None:
        return ""
    return _text(found).lower()


def _text(value: Any) -> str:
    """Of the binding's: bytes, text, or a view of C's."""
    data = value if isinstance(value, bytes | str) else getattr(value, "decode", lambda: value)()
    text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
    return text.partition("\0")[0].strip()


def own_choice(environ: Mapping[str, str]) -> str:
    """What the person's environment says of devices, for people; "" for nothing."""
    return ", ".join(f"{name}={environ[name]}" for name in VISIBLE if environ.get(name))
