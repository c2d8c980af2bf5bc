"""The facts of each GPU, from a snapshot of files: PCI, KFD and DRM put together. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forge.doctor import gather
from forge.doctor.facts import Gpu, Unknown, Value
from forge.doctor.machine import number_of
from forge.doctor.snapshot import Snapshot

_INTEGRATED = {
    *(90002, 90009, 90012),  # Raven, Renoir and their relatives
    *(100103, 100303, 100305, 100306, 100307),  # RDNA 1 and 2 in consoles and processors
    *(110003, 110500, 110501, 110502, 110503),  # Phoenix, Strix, Strix Halo, Krackan
}


@dataclass(frozen=True, slots=True)
class Node:
    """A GPU in KFD's topology: its number among the nodes, and its properties."""

    index: int
    properties: Mapping[str, int]

    @property
    def address(self) -> str:
        """Its PCI address: location_id is bus, device and function in 8, 5 and 3 bits."""
        place, domain = self.properties.get("location_id", 0), self.properties.get("domain", 0)
        return f"{domain:04x}:{place >> 8 & 255:02x}:{place >> 3 & 31:02x}.{place & 7}"


def nodes(files: Snapshot) -> list[Node]:
    """Those of KFD's nodes that are GPUs: they have SIMDs."""
    found = []
    for name in files.names(gather.NODES):
        text = files.text(f"{gather.NODES}/{name}/properties") or ""
        lines = re.findall(r"^(\w{1,60}) (\d{1,20})$", text, re.MULTILINE | re.ASCII)
        node = Node(
            int(name) if re.fullmatch("[0-9]{1,6}", name) else 0, {k: int(v) for k, v in lines}
        )
        if node.properties.get("simd_count"):
            found.append(node)
    return sorted(found, key=lambda node: node.index)


def unread_node(files: Snapshot) -> str:
    """Why a part of KFD's topology could not be read; "" where all of it was."""
    if gather.NODES not in files.folders:
        return files.why(gather.NODES)
    paths = (f"{gather.NODES}/{name}/properties" for name in files.names(gather.NODES))
    return next((files.why(path) for path in paths if path not in files.texts), "")


def count_gpus(files: Snapshot, found: int) -> Value:
    """How many AMD GPUs there are; Unknown where a device did not say what it is."""
    for path in (gather.DEVICES, *files.hung):
        asked = path.rpartition("/")[2] in ("class", "vendor") or path == gather.DEVICES
        if path.startswith(gather.DEVICES) and asked and path in files.hung:
            return Unknown(f"reading /{path} hangs")
    if gather.DEVICES not in files.folders and not files.absent(gather.DEVICES):
        return Unknown(f"the PCI bus: {files.why(gather.DEVICES)}")
    return found


def count_kinds(files: Snapshot) -> Value:
    """How many kinds of GPU KFD knows."""
    if (why := unread_node(files)) and not files.absent(gather.NODES):
        return Unknown(f"KFD's topology: {why}")
    return len({node.properties.get("gfx_target_version") for node in nodes(files)})


def find_gpus(files: Snapshot, environ: Mapping[str, str]) -> tuple[list[Gpu], list[str]]:
    """AMD's GPUs, and the others as "vendor:device"."""
    compute = nodes(files)
    by_address = {node.address: (place, node) for place, node in enumerate(compute)}
    amd: list[Gpu] = []
    others: list[str] = []
    for address in files.names(gather.DEVICES):
        folder = f"{gather.DEVICES}/{address}"
        kind, vendor = (files.text(f"{folder}/{name}") or "" for name in ("class", "vendor"))
        if not kind.startswith(gather.DISPLAY_CLASSES):
            continue
        device = re.sub(r"^0x", "", files.text(f"{folder}/device") or "")[:4]
        if vendor != gather.AMD:
            others.append(f"{re.sub(r'^0x', '', vendor)[:4]}:{device}")
            continue
        place, node = by_address.get(address) or (len(amd), None)
        values = _of_folder(files, folder) | _of_node(files, node, address)
        values |= _of_environment(environ, place, values["isa"])
        amd.append(Gpu(address, device, values))
    if any(path.startswith("sys/class/kfd/") for path in files.hung):
        blame: Value = True
        if len(amd) > 1:
            blame = Unknown("reading KFD's topology hangs, and which GPU is behind it is unclear")
        amd = [replace(gpu, values={**gpu.values, "read_hangs": blame}) for gpu in amd]
    return amd, others


def _of_folder(files: Snapshot, folder: str) -> dict[str, Value]:
    values: dict[str, Value] = {
        name.removeprefix("mem_info_"): number_of(files, f"{folder}/{name}")
        for name in gather.MEMORY
    }
    values["mes_fw"] = number_of(files, f"{folder}/fw_version/mes_fw_version")
    if values["mes_fw"] is None:
        values["mes_fw"] = Unknown("this kernel does not export it")
    status = f"{folder}/power/runtime_status"
    values["runtime_status"] = files.text(status) or Unknown(files.why(status) or "it is empty")
    values["devcoredump"] = bool(files.names(f"{folder}/devcoredump"))
    values["read_hangs"] = any(path.startswith(f"{folder}/") for path in files.hung)
    values["display_connected"] = _display(files, folder)
    values["compute_access"] = _access(files, folder)
    values |= _load(files, folder, values["runtime_status"])
    return values


def _of_node(files: Snapshot, node: Node | None, address: str) -> dict[str, Value]:
    if node is None:
        why = f"KFD's topology has no GPU at {address}"
        if unread := unread_node(files):
            why = f"KFD's topology: {unread}"
        return dict.fromkeys(("isa", "cwsr_export", "apu"), Unknown(why))
    isa = node.properties.get("gfx_target_version")
    return {
        "isa": isa or Unknown("this kernel's KFD does not tell it"),
        "cwsr_export": "cwsr_size" in node.properties,
        "apu": isa in _INTEGRATED if isa else Unknown("its instruction set is unknown"),
    }


def _of_environment(environ: Mapping[str, str], place: int, isa: Value) -> dict[str, Value]:
    """HSA_OVERRIDE_GFX_VERSION, or that of the GPU's own number, is major.minor.stepping."""
    name = "HSA_OVERRIDE_GFX_VERSION"
    text = environ.get(f"{name}_{place}") or environ.get(name)
    if not text:
        return {"override": None, "override_differs": False}
    parts = re.fullmatch(r"(\d{1,3})\.(\d{1,2})\.(\d{1,2})", text.strip(), re.ASCII)
    if not parts:
        unread = Unknown(f"{name} is {text[:40]!r}, not three numbers")
        return {"override": unread, "override_differs": unread}
    override = int(parts[1]) * 10000 + int(parts[2]) * 100 + int(parts[3])
    return {
        "override": override,
        "override_differs": isa if type(isa) is Unknown else override != isa,
    }


def _display(files: Snapshot, folder: str) -> Value:
    wanted = f"{folder}/drm/"
    paths = [path for path in files.texts if path.startswith(wanted) and path.endswith("/status")]
    if not paths and f"{folder}/drm" not in files.folders:
        return Unknown("no DRM device of it was found")
    return any(files.text(path) == "connected" for path in paths)


def _access(files: Snapshot, folder: str) -> Value:
    """Both /dev/kfd and its render node; None where there is no /dev/kfd."""
    kfd = files.accesses.get("dev/kfd")
    if kfd is None:
        return Unknown(files.why("dev/kfd"))
    if not kfd.exists:
        return None
    names = [name for name in files.names(f"{folder}/drm") if name.startswith("renderD")]
    nodes_ = [files.accesses.get(f"dev/dri/{name}") for name in names]
    if not kfd.allowed or any(node and node.exists and not node.allowed for node in nodes_):
        return False
    return True if nodes_ and all(nodes_) else Unknown("its render node was not found")


def _load(files: Snapshot, folder: str, status: Value) -> dict[str, Value]:
    if status == "suspended":
        asleep = Unknown("the GPU sleeps, and asking would wake it")
        return {"busy_percent": asleep, "power_percent": asleep}
    busy = number_of(files, f"{folder}/gpu_busy_percent")
    values: dict[str, Value] = {"busy_percent": busy if busy is not None else _unread()}
    values["power_percent"] = _unread()
    for name in files.names(f"{folder}/hwmon"):
        sensor = f"{folder}/hwmon/{name}"
        most = number_of(files, f"{sensor}/power1_cap")
        for draw in ("power1_average", "power1_input"):
            now = number_of(files, f"{sensor}/{draw}")
            if type(now) is int and type(most) is int and most > 0:
                values["power_percent"] = 100 * now // most
    return values


def _unread() -> Unknown:
    return Unknown("the driver does not tell it")
