"""The facts that rules speak of: their names, kinds, and values, known or not.

A value is a text, a whole number, True or False, a version (a tuple of whole numbers), a set of
texts, None where there certainly is no such thing, or Unknown with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be found out: why, and how to make it known ("" if nobody knows)."""

    why: str
    how: str = ""


Version: TypeAlias = tuple[int, ...]
Value: TypeAlias = str | int | bool | Version | frozenset[str] | Unknown | None
Kind: TypeAlias = Literal["flag", "number", "version", "text", "texts", "names"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a fact is.

    kind: flag, number, version, text, texts (a set), or names (a table: what each name stands for).
    of: "machine", "gpu" or "hang" (the newest hang record).
    words: what it says, for people.
    how: what to do where it is unknown.
    """

    kind: Kind
    of: Literal["machine", "gpu", "hang"]
    words: str
    how: str = ""


_LOG = "sudo sysctl kernel.dmesg_restrict=0, or sudo usermod -aG systemd-journal $USER and log in"
_HANG = "it needs the record of a hang: run the model until it hangs again"
_MODULE = "sudo modprobe amdgpu; in a container: run forge doctor outside as well"
_NODE = "see that /dev/kfd exists and that this account may open it"

MEANINGS: Mapping[str, Meaning] = {
    "kernel": Meaning("version", "machine", "the kernel's version", "uname -r"),
    "amd_gpus": Meaning("number", "machine", "how many AMD GPUs the PCI bus has"),
    "different_isas": Meaning("number", "machine", "kinds of GPU that ROCm sees", _NODE),
    "kfd": Meaning("flag", "machine", "/dev/kfd exists"),
    "kfd_processes": Meaning("number", "machine", "processes that use ROCm now"),
    "evicted_ms": Meaning("number", "machine", "milliseconds that compute queues stood aside"),
    "dkms": Meaning("flag", "machine", "amdgpu is the DKMS driver, not the kernel's", _MODULE),
    "secure_boot": Meaning("flag", "machine", "Secure Boot is on", "mokutil --sb-state"),
    "cmdline": Meaning("texts", "machine", "graphics parameters on the kernel's command line"),
    "cmdline_ineffective": Meaning("number", "machine", "parameters there without effect", _MODULE),
    "param": Meaning("names", "machine", "amdgpu's parameter", _MODULE),
    "env": Meaning("names", "machine", "the environment variable"),
    "ttm_pages_limit": Meaning("number", "machine", "4 KiB pages that GPUs may use of the memory"),
    "ram_total": Meaning("number", "machine", "bytes of memory"),
    "rocm": Meaning(
        "version", "machine", "ROCm's version", "cat /opt/rocm/.info/version; install ROCm"
    ),
    "rocm_mixed": Meaning(
        "flag", "machine", "the HIP library found first is of another release than /opt/rocm"
    ),
    "vulkan_software_only": Meaning("flag", "machine", "Vulkan's only driver here is the CPU's"),
    "container": Meaning("flag", "machine", "this is a container"),
    "model_bytes": Meaning("number", "machine", "the model's bytes", "forge doctor -m MODEL.gguf"),
    "isa": Meaning("number", "gpu", "its instruction set", _NODE),
    "mes_fw": Meaning(
        "number", "gpu", "its MES firmware", "sudo cat /sys/kernel/debug/dri/*/amdgpu_firmware_info"
    ),
    "cwsr_export": Meaning("flag", "gpu", "the kernel tells its save area's size", _NODE),
    "override": Meaning("number", "gpu", "HSA_OVERRIDE_GFX_VERSION says it is"),
    "override_differs": Meaning("flag", "gpu", "that is another instruction set than its own"),
    "compute_access": Meaning("flag", "gpu", "this account may use it for computing"),
    "apu": Meaning("flag", "gpu", "it is integrated in the processor", _NODE),
    "vram_total": Meaning("number", "gpu", "bytes of its own memory"),
    "vram_used": Meaning("number", "gpu", "bytes of its own memory in use"),
    "gtt_total": Meaning("number", "gpu", "bytes of the machine's memory that it may use"),
    "gtt_used": Meaning("number", "gpu", "bytes of the machine's memory that it uses"),
    "runtime_status": Meaning("text", "gpu", "its power state"),
    "busy_percent": Meaning("number", "gpu", "how busy it says it is"),
    "power_percent": Meaning("number", "gpu", "its power, of the most it may draw"),
    "display_connected": Meaning("flag", "gpu", "a screen is connected to it"),
    "devcoredump": Meaning("flag", "gpu", "the kernel kept a dump of a crash of it"),
    "read_hangs": Meaning("flag", "gpu", "reading the driver's files about it hangs"),
    "log": Meaning("names", "gpu", "the kernel's log of this boot has", _LOG),
    "hang_stack": Meaning("text", "hang", "the driver stack of the last hang", _HANG),
    "hang_phase": Meaning("text", "hang", "what the last hang interrupted", _HANG),
    "hang_stalled": Meaning("flag", "hang", "it made no progress within its budget", _HANG),
    "hang_in_copy": Meaning("flag", "hang", "it stopped in a copy", _HANG),
    "hang_prompt_tokens": Meaning("number", "hang", "tokens of the prompt in it", _HANG),
    "hangs_this_boot": Meaning("number", "hang", "hangs of this device since the machine started"),
    "stderr": Meaning("names", "hang", "the worker's last words have", _HANG),
}
"""Every fact that a rule may name; `env`, `param`, `log` and `stderr` take names of their own."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An AMD GPU: its PCI address, its PCI device id (four hexadecimal digits), its facts."""

    address: str
    device_id: str
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])

    @property
    def isa_name(self) -> str:
        """As compilers call it: gfx1151; "" while it is unknown."""
        isa = self.values.get("isa")
        return gfx(isa) if type(isa) is int else ""

    @property
    def name(self) -> str:
        """For people: 0000:c5:00.0 (gfx1151)."""
        return f"{self.address} ({self.isa_name or 'AMD ' + self.device_id})"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the machine and of each AMD GPU in it.

    values: the machine's facts. "param.*" is what holds for parameters that have no entry.
    gpus: AMD's only.
    others: GPUs of other makers, as "vendor:device".
    shown: more that is worth telling, which no rule speaks of (firmware versions, ICDs, …).
    hung: files whose reading did not return.
    """

    values: Mapping[str, Value]
    gpus: tuple[Gpu, ...] = ()
    others: tuple[str, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict[str, str])
    hung: tuple[str, ...] = ()

    def value(self, name: str, gpu: Gpu | None = None) -> Value:
        """A fact; Unknown where it was not gathered. `name` may be "log.ring_timeout"."""
        for key in (name, f"{name.partition('.')[0]}.*"):
            for values in (gpu.values if gpu else {}, self.values):
                if key in values:
                    return values[key]
        meaning = MEANINGS.get(name.partition(".")[0])
        return Unknown("it was not looked for", meaning.how if meaning else "")


def gfx(version: int) -> str:
    """The name of a gfx_target_version: its last two digits are hexadecimal."""
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{step:x}"


def bytes_in_words(count: int) -> str:
    """An amount of memory."""
    return f"{count / 2**30:.1f} GiB"
