"""The one module that touches the driver: structures, calls, and what their results mean.

The binding's own wrappers keep no reference to what a structure points to, and copy a result twice;
its cffi library underneath is called directly here.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import vulkan
from vulkan import ffi, lib

from forge.backend import BackendError, BackendLost, BackendOutOfMemory, BackendUnavailable

__all__ = ["NULL", "array", "call", "check", "extension", "ffi", "found", "lib", "struct", "text"]

NULL = ffi.NULL
_KEPT: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()

_NAMES = {
    getattr(vulkan, name): name
    for name in dir(vulkan)
    if name.startswith(("VK_ERROR_", "VK_NOT_READY", "VK_TIMEOUT", "VK_INCOMPLETE"))
}
_TYPES: dict[str, int] = {
    name.removeprefix("VK_STRUCTURE_TYPE_").replace("_", "").lower(): getattr(vulkan, name)
    for name in dir(vulkan)
    if name.startswith("VK_STRUCTURE_TYPE_")
}


def struct(kind: str, **fields: Any) -> Any:
    """A pointer to a new structure; sType follows from its name, and what it points to lives on."""
    made = ffi.new(f"{kind} *")
    kept: list[Any] = []
    members = dict(ffi.typeof(kind).fields)
    if "sType" in members:
        made.sType = _TYPES[kind.removeprefix("Vk").lower()]
    for name, value in fields.items():
        if isinstance(value, str):
            value = ffi.new("char[]", value.encode())
        elif isinstance(value, list | tuple):
            value = array(members[name].type.item.cname, value)
        kept.append(value)
        if members[name].type.kind == "struct":
            value = value[0]
        setattr(made, name, value)
    _KEPT[made] = kept
    return made


def array(kind: str, values: Sequence[Any]) -> Any:
    """A new array of structures (given by pointer), handles, numbers or texts."""
    made = ffi.new(f"{kind}[]", max(1, len(values)))
    kept: list[Any] = []
    for index, value in enumerate(values):
        if isinstance(value, str):
            value = ffi.new("char[]", value.encode())
        kept.append(value)
        pointer = isinstance(value, ffi.CData) and ffi.typeof(value).kind == "pointer"
        by_value = pointer and ffi.typeof(made).item.kind == "struct"
        made[index] = value[0] if by_value else value
    _KEPT[made] = kept
    return made


def call(name: str, *arguments: Any) -> None:
    """Call a function of the core that returns a result."""
    check(getattr(lib, name)(*arguments), name)


_STARTING = ("vkCreateInstance", "vkEnumeratePhysicalDevices", "vkCreateDevice")

COMPLAINTS: list[str] = []
"""Of the validation layer, where it is asked (`messages`)."""


def check(result: int, what: str) -> None:
    """Raise what a negative result means; VK_TIMEOUT and the like pass."""
    if COMPLAINTS:
        found = list(COMPLAINTS)
        COMPLAINTS.clear()
        raise BackendError("the validation layer found: " + "\n".join(found))
    if result >= 0:
        return
    name = _NAMES.get(result, str(result))
    if result == vulkan.VK_ERROR_DEVICE_LOST:
        raise BackendLost(f"the driver says that the device is lost ({what}: {name})")
    if result in (vulkan.VK_ERROR_OUT_OF_DEVICE_MEMORY, vulkan.VK_ERROR_OUT_OF_HOST_MEMORY):
        raise BackendOutOfMemory(f"the device has no memory left ({what}: {name})")
    if what in _STARTING:
        raise BackendUnavailable(
            f"the Vulkan driver does not start ({what}: {name}): after an update of it, reboot, so "
            "that the kernel's part has the same version; `forge doctor` looks at the rest"
        )
    raise BackendError(f"the Vulkan driver failed ({what}: {name})")


def found(name: str, kind: str, *arguments: Any) -> list[Any]:
    """All that an enumeration gives: called for the count, then for the values."""
    count = ffi.new("uint32_t *")
    function = getattr(lib, name)
    check(function(*arguments, count, NULL) or 0, name)
    values = ffi.new(f"{kind}[]", max(1, count[0]))
    if "sType" in dict(getattr(ffi.typeof(kind), "fields", None) or ()):
        for value in values:
            value.sType = _TYPES[kind.removeprefix("Vk").lower()]
    check(function(*arguments, count, values) or 0, name)
    listed = [values[index] for index in range(count[0])]
    for value in listed:
        if isinstance(value, ffi.CData) and ffi.typeof(value).kind == "struct":
            _KEPT[ffi.addressof(value)] = [values]
    _ALIVE[id(listed)] = values
    return listed


_ALIVE: dict[int, Any] = {}
"""Enumerated structures are views of one array, kept for the process's life: a few KiB."""


def extension(device: Any, name: str) -> Any:
    """A function of a device's extension, or None where it has none."""
    address = lib.vkGetDeviceProcAddr(device, name.encode())
    return None if address == NULL else ffi.cast(f"PFN_{name}", address)


def text(characters: Any) -> str:
    """A character array as text."""
    return bytes(ffi.string(characters)).decode(errors="replace")
