"""Registers the Vulkan backend, and the ways in which its driver can be made to fail."""

import os

from forge import BackendSpec, hookimpl
from forge.spec import DriverFault

NAME = "vulkan"
_FAULTS = (
    ("oom", "load", "oom@load"),
    ("exception", "compile", "error@compile"),
    ("hang", "prefill", "hang@prefill"),
    ("lost", "prefill", "lost@prefill"),
    ("hang", "decode", "hang@decode"),
    ("lost", "decode", "lost@decode"),
)
"""As the suite names them, and as `forge_vulkan.failing` does."""


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
    return [
        DriverFault(NAME, "no-driver", "open", env=nothing),
        *(
            DriverFault(NAME, fault, phase, options={"fault": option})
            for fault, phase, option in _FAULTS
        ),
    ]
