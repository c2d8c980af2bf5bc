"""Which of the driver's devices is opened: what --device says, else the best hardware there is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forge.backend import BackendConfig, BackendUnavailable, Device

_SHORT_ADDRESS = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def choose(devices: Sequence[Device], config: BackendConfig) -> int:
    """The place in `devices`, which are in order of preference, of the one to open.

    `config.device` is an id, an address on PCI with or without its domain, or a part of a name,
    however it is written. A software device is opened if it is named so, or if the backend is and
    there is no other. Raises BackendUnavailable, which lists what there is.
    """
    if config.device is not None:
        return devices.index(_named(devices, config.device))
    hardware = [device for device in devices if device.kind != "software"]
    if hardware:
        return devices.index(hardware[0])
    if not config.asked:
        raise BackendUnavailable(
            f"there is no GPU with a Vulkan driver here, only {listed(devices)}: "
            "`-b vulkan` uses it all the same"
        )
    return 0


def _named(devices: Sequence[Device], name: str) -> Device:
    wanted = name.strip().lower()
    if _SHORT_ADDRESS.fullmatch(wanted):
        wanted = f"0000:{wanted}"
    for device in devices:
        # Two drivers may list one card, so that its address is there twice: the first is as good.
        if wanted and wanted in (device.id, device.address):
            return device
    found = [device for device in devices if wanted and wanted in device.name.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise BackendUnavailable(
            f"{name!r} is part of several names: give an id or an address of {listed(found)}"
        )
    raise BackendUnavailable(f"there is no Vulkan device {name!r}; there are: {listed(devices)}")


def listed(devices: Sequence[Device]) -> str:
    """Each with what --device takes, for people."""
    return ", ".join(
        f"{device.id} ({', '.join(filter(None, (device.name, device.kind, device.address)))})"
        for device in devices
    )
