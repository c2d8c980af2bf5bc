"""Machines as folders: the files of sysfs, procfs, /dev and /opt that the doctor reads."""

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forge.doctor import Examination, examine
from forge.doctor.snapshot import COMMAND

GIB = 1 << 30
EFI = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
ADDRESS = "0000:c5:00.0"


@dataclass(frozen=True)
class Card:
    """A GPU, by default a sound RX 7900 XTX with a screen off."""

    isa: int | None = 110000
    address: str = ADDRESS
    vendor: str = "0x1002"
    device: str = "0x744c"
    mes: int | None = 0x52
    cwsr: bool = True
    status: str = "active"
    vram: int = 24 * GIB
    gtt: int = 16 * GIB
    display: bool = False
    busy: int = 3
    power: int = 20
    minor: int = 128


@dataclass(frozen=True)
class Machine:
    """Everything else, by default a sound machine with ROCm 7.2.1 on kernel 6.12."""

    kernel: str = "6.12.64-generic"
    cards: tuple[Card, ...] = (Card(),)
    kfd: bool = True
    rocm: str | None = "7.2.1-43"
    library: str = "libamdhip64.so.7.2.70201"
    env: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    cmdline: str = "BOOT_IMAGE=/vmlinuz root=UUID=0123 quiet"
    dkms: bool = False
    secure_boot: bool = False
    log: tuple[str, ...] = ("usb 1-1: new device", "amdgpu 0000:c5:00.0: enabling device")
    icds: tuple[str, ...] = ("radeon_icd.x86_64.json", "lvp_icd.x86_64.json")
    ram: int = 64 * GIB
    hangs: tuple[dict[str, Any], ...] = ()
    model_bytes: int = 5 * GIB
    processes: int = 0
    access: bool = True
    render: bool = True
    hanging: str = ""

    def card(self, **changes: Any) -> "Machine":
        """With another first card."""
        return replace(self, cards=(replace(self.cards[0], **changes), *self.cards[1:]))


def hang(**changes: Any) -> dict[str, Any]:
    """The record of a hang just now."""
    record = {
        "backend": "hip",
        "device": f"AMD Radeon [{ADDRESS}]",
        "phase": "decode",
        "detail": "layer 7",
        "reason": "no progress",
        "when": time.time(),
        "age_s": 9.1,
        "budget_s": 4.0,
        "prompt_tokens": 12,
        "log": ["loading"],
        "kernel": [],
    }
    return {key: value for key, value in (record | changes).items() if value is not None}


def write(root: Path, path: str, text: str | bytes) -> None:
    """A file in the tree."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def build(root: Path, machine: Machine) -> Path:
    """The machine's files."""
    write(root, "proc/sys/kernel/osrelease", f"{machine.kernel}\n")
    write(root, "proc/cmdline", f"{machine.cmdline}\n")
    write(root, "proc/meminfo", f"MemTotal:       {machine.ram // 1024} kB\nMemFree: 1 kB\n")
    write(root, "proc/sys/kernel/dmesg_restrict", "1\n")
    write(root, "etc/os-release", 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n')
    write(root, EFI, b"\x06\0\0\0" + (b"\1" if machine.secure_boot else b"\0"))
    records = "".join(f"6,{n},{n}000000,-;{line}\n" for n, line in enumerate(machine.log, 1))
    write(root, "dev/kmsg", records)
    defaults = {"cwsr_enable": "1", "runpm": "-1", "lockup_timeout": "", "ppfeaturemask": "0xfff"}
    for name, value in (defaults | machine.params).items():
        write(root, f"sys/module/amdgpu/parameters/{name}", f"{value}\n")
    if machine.dkms:
        write(root, "sys/module/amdgpu/version", "6.16.13\n")
    write(root, "sys/module/ttm/parameters/pages_limit", "8192000\n")
    for name in machine.icds:
        write(root, f"usr/share/vulkan/icd.d/{name}", "{}")
    if machine.rocm:
        write(root, "opt/rocm/.info/version", machine.rocm)
        write(root, f"opt/rocm/lib/{machine.library}", "")
    if machine.kfd:
        write(root, "dev/kfd", "")
        (root / "dev/kfd").chmod(0o666 if machine.access else 0)
    for number in range(machine.processes):
        write(root, f"sys/class/kfd/kfd/proc/{4000 + number}/stats_1/evicted_ms", "7\n")
    (root / "sys/class/kfd/kfd/topology/nodes/0").mkdir(parents=True)
    write(
        root, "sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 16\nsimd_count 0\n"
    )
    for index, card in enumerate(machine.cards, 1):
        _card(root, card, index)
        (root / f"dev/dri/renderD{card.minor}").chmod(0o666 if machine.render else 0)
    for number, record in enumerate(machine.hangs):
        write(root, f"state/hangs/{number}.json", json.dumps(record))
    if machine.hanging:
        _hang(root / machine.hanging)
    return root


def _card(root: Path, card: Card, index: int) -> None:
    folder = f"sys/bus/pci/devices/{card.address}"
    for name, text in {
        "class": "0x030000",
        "vendor": card.vendor,
        "device": card.device,
        "power/runtime_status": card.status,
        "mem_info_vram_total": card.vram,
        "mem_info_vram_used": GIB // 8,
        "mem_info_gtt_total": card.gtt,
        "mem_info_gtt_used": 4096,
        "gpu_busy_percent": card.busy,
        "hwmon/hwmon3/power1_average": card.power * 1_000_000,
        "hwmon/hwmon3/power1_cap": 100_000_000,
        f"drm/card{index}/card{index}-DP-1/status": "connected" if card.display else "disconnected",
        "fw_version/smc_fw_version": "0x004e7900",
    }.items():
        write(root, f"{folder}/{name}", f"{text}\n")
    write(root, f"{folder}/drm/renderD{card.minor}/dev", "226:128\n")
    write(root, f"dev/dri/renderD{card.minor}", "")
    if card.mes is not None:
        write(root, f"{folder}/fw_version/mes_fw_version", f"{card.mes:#010x}\n")
    if card.isa is not None:
        domain, bus, rest = card.address.split(":")
        device, function = rest.split(".")
        place = int(bus, 16) << 8 | int(device, 16) << 3 | int(function)
        lines = ["simd_count 80", f"gfx_target_version {card.isa}", f"location_id {place}"]
        lines += [f"domain {int(domain, 16)}", "vendor_id 4098", f"drm_render_minor {card.minor}"]
        lines += ["cwsr_size 16764928", "ctl_stack_size 65536"] if card.cwsr else []
        write(root, f"sys/class/kfd/kfd/topology/nodes/{index}/properties", "\n".join(lines) + "\n")


def _hang(path: Path) -> None:
    """A pipe without a writer: opening it blocks, as a read of a stuck driver's file does."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def look(root: Path, machine: Machine, **options: Any) -> Examination:
    """Examine the machine."""
    options = {"seconds": 20.0, "command": COMMAND, "model_bytes": machine.model_bytes} | options
    environ = {"PATH": "/usr/bin", **machine.env}
    return examine(build(root, machine), environ=environ, state=root / "state", **options)
