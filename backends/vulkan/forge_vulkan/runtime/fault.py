"""What a driver knows of a device that it lost: VK_EXT_device_fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forge_vulkan.runtime import vk

if TYPE_CHECKING:
    from forge_vulkan.runtime.instance import Listed

EXTENSION = "VK_EXT_device_fault"

_ADDRESSES = (
    *("", "an invalid read", "an invalid write", "an invalid execution"),
    *("an unknown instruction", "an invalid instruction", "a faulty instruction"),
)
"""By VkDeviceFaultAddressTypeEXT."""
_MOST = 4


def feature(listed: Listed) -> Any:
    """The structure that asks for it when a device is made; None where it has none."""
    if EXTENSION not in listed.extensions:
        return None
    asked = vk.struct("VkPhysicalDeviceFaultFeaturesEXT")
    listed.more("VkPhysicalDeviceFeatures2", "vkGetPhysicalDeviceFeatures2", asked)
    if not asked.deviceFault:
        return None
    return vk.struct("VkPhysicalDeviceFaultFeaturesEXT", deviceFault=1)


def report(device: Any) -> str:
    """Why the device was lost, on one line; "" where the driver does not tell."""
    function = vk.extension(device, "vkGetDeviceFaultInfoEXT")
    if function is None:
        return ""
    counts = vk.struct("VkDeviceFaultCountsEXT")
    if function(device, counts, vk.NULL) < 0:
        return ""
    counts.vendorBinarySize = 0
    addresses = vk.ffi.new("VkDeviceFaultAddressInfoEXT[]", max(1, counts.addressInfoCount))
    vendor = vk.ffi.new("VkDeviceFaultVendorInfoEXT[]", max(1, counts.vendorInfoCount))
    info = vk.struct("VkDeviceFaultInfoEXT", pAddressInfos=addresses, pVendorInfos=vendor)
    if function(device, counts, info) < 0:
        return ""
    return said(
        vk.text(info.description),
        [
            (each.addressType, each.reportedAddress)
            for each in (addresses[i] for i in range(min(counts.addressInfoCount, _MOST)))
        ],
        [
            (vk.text(each.description), each.vendorFaultCode, each.vendorFaultData)
            for each in (vendor[i] for i in range(min(counts.vendorInfoCount, _MOST)))
        ],
    )


def said(
    description: str, addresses: list[tuple[int, int]], vendor: list[tuple[str, int, int]]
) -> str:
    """A report in words: addresses are (type, address), the vendor's (text, code, data)."""
    parts = [description.strip()]
    for kind, address in addresses:
        if kind:
            what = _ADDRESSES[kind] if kind < len(_ADDRESSES) else f"a fault of type {kind}"
            parts.append(f"{what} at 0x{address:x}")
    parts += [f"{text.strip()} (code {code:#x}, data {data:#x})" for text, code, data in vendor]
    return "; ".join(filter(None, parts))
