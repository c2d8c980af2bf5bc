"""The ways in which a GPU's driver can be made to fail, for the plugins to declare."""

from collections.abc import Mapping

from forge.spec import DriverFault

OPTION = "fault"
"""Of a backend: FAULT@PHASE, such as lost@decode."""
KINDS = ("hang", "lost", "oom", "error")
_FAULTS = (
    ("oom", "load", "oom@load"),
    ("exception", "compile", "error@compile"),
    ("hang", "prefill", "hang@prefill"),
    ("lost", "prefill", "lost@prefill"),
    ("hang", "decode", "hang@decode"),
    ("lost", "decode", "lost@decode"),
)
"""As the suite names them, and as `forge_gpu.failing` does."""


def declared(backend: str, nothing: Mapping[str, str]) -> list[DriverFault]:
    """All of them; `nothing` is an environment in which no driver or device is to be found."""
    return [
        DriverFault(backend, "no-driver", "open", env=nothing),
        *(
            DriverFault(backend, fault, phase, options={OPTION: option})
            for fault, phase, option in _FAULTS
        ),
    ]
