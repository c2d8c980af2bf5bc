"""Registers the HIP backend, and the ways in which its driver can be made to fail."""

from forge import BackendSpec, hookimpl
from forge.spec import DriverFault
from forge_gpu.faults import declared

NAME = "hip"
_ENV = {"GPU_MAX_HW_QUEUES": "1"}
"""With more, some GPUs stay at 100 % and at full clock when idle (ROCm#5706, llama.cpp#24237).
HSA_OVERRIDE_GFX_VERSION is never set here: kernels are compiled for the GPU that there is."""


@hookimpl
def forge_backends() -> list[BackendSpec]:
    """One backend; which GPU it opens, it finds out in its worker."""
    return [
        BackendSpec(
            NAME,
            "forge_hip.factory:open_backend",
            priority=5,
            proven=20,
            env=_ENV,
            requires=("hip",),
            install="forge-llm[hip]",
            stack="rocm",
        )
    ]


@hookimpl
def forge_faults() -> list[DriverFault]:
    """Real waits and results of the driver's; and an environment that hides every GPU from it."""
    return declared(NAME, {"ROCR_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"})
