"""Registers the Vulkan backend, and the ways in which its driver can be made to fail."""

import os

from forge import BackendSpec, hookimpl
from forge.spec import DriverFault
from forge_gpu.faults import declared

NAME = "vulkan"


@hookimpl
def forge_backends() -> list[BackendSpec]:
    """One backend; which device it opens, it finds out in its worker."""
    return [
        BackendSpec(
            NAME,
            "forge_vulkan.factory:open_backend",
            priority=10,
            requires=("vulkan",),
            install="forge-llm[vulkan]",
            stack="vulkan",
        )
    ]


@hookimpl
def forge_faults() -> list[DriverFault]:
    """Real waits and results of the driver's; and a machine on which no driver is to be found."""
    nothing = {"VK_DRIVER_FILES": os.devnull, "VK_ICD_FILENAMES": os.devnull}
    return declared(NAME, nothing)
