"""The machine's facts, from a snapshot of its files and from the environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from forge.doctor import cmdline, gather, rocm
from forge.doctor.facts import Unknown, Value, Version
from forge.doctor.snapshot import Snapshot

VARIABLES = re.compile(
    r"(HSA|HIP|ROCR|ROCM|ROCBLAS|HIPBLASLT|MIOPEN|AMD|GPU|RADV|VK|MESA|CUDA_VISIBLE|DRI)_?\w{0,60}"
)
"""Environment variables that steer the drivers."""
_SOFTWARE = re.compile(r"lvp|lavapipe|llvmpipe|swrast|swiftshader", re.IGNORECASE)


def machine_values(
    files: Snapshot, environ: Mapping[str, str], model_bytes: int | None
) -> dict[str, Value]:
    """Every fact of kind "machine" but those that count GPUs."""
    values: dict[str, Value] = {
        "kernel": version_of(files, "proc/sys/kernel/osrelease"),
        "kfd": _exists(files, "dev/kfd"),
        "dkms": _dkms(files),
        "secure_boot": _secure_boot(files),
        "ttm_pages_limit": number_of(files, "sys/module/ttm/parameters/pages_limit"),
        "ram_total": _ram(files),
        "container": any(a.exists for p, a in files.accesses.items() if p in gather.CONTAINERS),
        "kfd_processes": _processes(files),
        "evicted_ms": _evicted(files),
        "vulkan_software_only": _software_only(files, environ),
        "rocm": rocm.version(files),
        "rocm_mixed": rocm.mixed(files),
        **{f"env.{name}": environ.get(name) for name in variables(environ)},
        "env.*": None,
        **_parameters(files),
    }
    arguments = files.text("proc/cmdline")
    if arguments is None:
        missing = Unknown(files.why("proc/cmdline"))
        values |= {"cmdline": missing, "cmdline_ineffective": missing}
    else:
        values["cmdline"] = frozenset(name for name, _ in cmdline.graphics(arguments))
        values["cmdline_ineffective"] = _ineffective(files, arguments)
    if model_bytes is not None:
        values["model_bytes"] = model_bytes
    return values


def shown(files: Snapshot, environ: Mapping[str, str]) -> dict[str, str]:
    """What is worth telling beside the facts of rules."""
    found = {"kernel release": files.text("proc/sys/kernel/osrelease") or ""}
    system = re.search(r'^PRETTY_NAME="?([^"\n]{1,80})', files.text("etc/os-release") or "", re.M)
    found["system"] = system[1] if system else ""
    found["ROCm"] = files.text(gather.ROCM_VERSION) or ""
    found["HIP library"] = rocm.library(files) or ""
    found["amdgpu"] = "loaded" if files.names("sys/module/amdgpu") else ""
    found["Vulkan drivers"] = ", ".join(icds(files, environ))
    arguments = cmdline.graphics(files.text("proc/cmdline") or "")
    found["kernel parameters"] = " ".join(f"{name}={value}" for name, value in arguments)
    found["variables"] = " ".join(f"{name}={environ[name]}" for name in variables(environ))
    return {name: text[:500] for name, text in found.items() if text}


def variables(environ: Mapping[str, str]) -> list[str]:
    """The names of those that steer the drivers."""
    return sorted(name for name in environ if VARIABLES.fullmatch(name))


def parameters(files: Snapshot) -> dict[str, str]:
    """amdgpu's parameters that could be read."""
    folder = gather.PARAMETERS[0]
    found = ((name, files.text(f"{folder}/{name}")) for name in files.names(folder))
    return {name: text for name, text in found if text is not None}


def icds(files: Snapshot, environ: Mapping[str, str]) -> list[str]:
    """The Vulkan drivers that the loader would try: names of their files."""
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        if chosen := environ.get(name):
            return [PurePath(path).name for path in chosen.split(":") if path]
    found = [name for folder in gather.ICD_FOLDERS for name in files.names(folder)]
    return [name for name in found if name.endswith(".json")]


def _parameters(files: Snapshot) -> dict[str, Value]:
    folder, read = gather.PARAMETERS[0], parameters(files)
    values: dict[str, Value] = {f"param.{name}": text for name, text in read.items()}
    for name in files.names(folder):
        values.setdefault(f"param.{name}", Unknown(files.why(f"{folder}/{name}")))
    if folder in files.folders:
        return values | {"param.*": None}
    return values | {"param.*": Unknown(f"amdgpu's parameters: {files.why(folder)}")}


def version_of(files: Snapshot, path: str) -> Value:
    """The version that a file begins with."""
    text = files.text(path)
    if text is None:
        return Unknown(files.why(path))
    return parse_version(text) or Unknown(f"{text[:40]!r} is no version")


def parse_version(text: str) -> Version | None:
    """The numbers that a text begins with: 6.17.0-1010-oem is (6, 17, 0)."""
    found = re.match(r"\d{1,9}(?:\.\d{1,9}){0,5}", text, re.ASCII)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def number_of(files: Snapshot, path: str) -> Value:
    """The whole number in a file, decimal or 0x…; None where there is no such file."""
    text = files.text(path)
    if text is None:
        return None if files.absent(path) else Unknown(files.why(path))
    if not re.fullmatch(r"-?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}", text, re.ASCII):
        return Unknown(f"{text[:40]!r} is no number")
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def _exists(files: Snapshot, path: str) -> Value:
    access = files.accesses.get(path)
    return Unknown(files.why(path)) if access is None else access.exists


def _dkms(files: Snapshot) -> Value:
    """The kernel's own amdgpu has no version, that of DKMS has (ROCm/ROCm#5590)."""
    if files.text("sys/module/amdgpu/version") is not None:
        return True
    if not files.names("sys/module/amdgpu"):
        return Unknown("amdgpu is not loaded, or its folder cannot be read")
    path = "sys/module/amdgpu/version"
    return False if files.absent(path) else Unknown(files.why(path))


def _secure_boot(files: Snapshot) -> Value:
    """The variable is four bytes of attributes and one of value; a machine without EFI has none."""
    raw = files.texts.get(gather.SECURE_BOOT)
    if raw is None:
        absent = files.absent(gather.SECURE_BOOT)
        return False if absent else Unknown(files.why(gather.SECURE_BOOT))
    return raw[4] == "\1" if len(raw) == 5 else Unknown("the EFI variable is damaged")


def _ram(files: Snapshot) -> Value:
    found = re.search(r"^MemTotal:\s{1,20}(\d{1,15}) kB", files.text("proc/meminfo") or "", re.M)
    return int(found[1]) * 1024 if found else Unknown("/proc/meminfo does not say it")


def _processes(files: Snapshot) -> Value:
    if gather.KFD_PROCESSES in files.folders:
        return len(files.names(gather.KFD_PROCESSES))
    return None if files.absent(gather.KFD_PROCESSES) else Unknown("it was not looked for")


def _evicted(files: Snapshot) -> Value:
    times = [text.strip() for path, text in files.texts.items() if path.endswith("/evicted_ms")]
    return sum(int(time) for time in times if re.fullmatch(r"[0-9]{1,18}", time))


def _software_only(files: Snapshot, environ: Mapping[str, str]) -> Value:
    drivers = icds(files, environ)
    if not drivers:
        return Unknown("no description of a Vulkan driver was found", "vulkaninfo --summary")
    return all(_SOFTWARE.search(name) for name in drivers)


def _ineffective(files: Snapshot, arguments: str) -> Value:
    known = files.names(gather.PARAMETERS[0])
    if not known and cmdline.graphics(arguments):
        return Unknown("amdgpu's parameters cannot be read")
    return len(cmdline.ineffective(arguments, parameters(files), set(known)))
