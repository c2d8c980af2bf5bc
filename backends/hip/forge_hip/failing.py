"""The HIP driver made to fail, at its edge: what the conformance suite's L3 tries on purpose.

The plugin declares these with the hook forge_faults; a backend that is opened without the option
never sees this module. All but the calls that fail are the real driver's.

fault  what happens, from the phase's step on
hang   the next piece of work waits for a word that nobody writes; not for ever, as a device goes
       on when the process was killed
lost   launching, copying and asking give hipErrorLaunchFailure
oom    allocating gives hipErrorOutOfMemory
error  loading code gives hipErrorInvalidImage
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

from forge.backend import BackendConfig
from forge_gpu.failing import Failing, Script
from forge_gpu.faults import OPTION
from forge_hip.backend import HipBackend
from forge_hip.runtime import driver
from forge_hip.runtime.arenas import Arenas
from forge_hip.runtime.compiler import Unit
from forge_hip.runtime.launches import Launch, Packed
from forge_hip.runtime.pool import SEPARATE

_SPIN = Unit(
    "spin",
    """extern "C" __global__ void forge_spin(volatile unsigned* word, unsigned millions) {
  for (unsigned i = 0; i < millions; ++i)
    for (unsigned j = 0; j < 1000000 && word[0] == 0; ++j) {}
}
""",
    entries=("forge_spin",),
)
_MILLIONS = 100
"""Of reads, one after the other, over the bus; a GPU takes about 1 µs for one."""
_ENDLESS = 1 << 31
"""On a simulated device, which ends with its process."""
_RESULTS = {
    "lost": (
        "hipErrorLaunchFailure",
        *("hipModuleLaunchKernel", "hipGraphLaunch", "hipMemcpyAsync", "hipEventQuery"),
    ),
    "oom": ("hipErrorOutOfMemory", "hipMalloc"),
    "error": ("hipErrorInvalidImage", "hipModuleLoadData"),
}
"""By fault, the result, and the functions that give it."""


class Edge:
    """The binding, some of its functions with another in their place."""

    def __init__(self, real: Any, instead: Mapping[str, Callable[..., Any]]) -> None:
        self._real, self._instead = real, instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._real, name)


class FailingBackend(Failing, HipBackend):
    """As the option says."""

    def __init__(self, config: BackendConfig) -> None:
        if config.options[OPTION].startswith("oom"):
            os.environ[SEPARATE] = "1"  # graphs allocate then, be they as small as the suite's
        super().__init__(config)
        self._script = Script(config.options[OPTION], self._fail)
        self._stall = self._stalled()

    @property
    def script(self) -> Script:
        """What is to happen, and when."""
        return self._script

    def _fail(self, fault: str) -> None:
        """From now on the driver fails so, for all of this process."""
        if fault == "hang":
            self._opening.stream.run([self._stall])
            return
        name, *functions = _RESULTS[fault]
        edge: Any = driver
        status = getattr(edge.hip.hipError_t, name)
        edge.hip = Edge(edge.hip, {each: lambda *_: (status,) for each in functions})

    def _stalled(self) -> Launch:
        """A kernel that keeps the stream busy: what is put there after it waits for it."""
        self._opening.compiler.prepare([_SPIN])
        word = Arenas(self._opening.pool, "host", 4096).region(4)
        word.view()[:] = 0
        millions = _ENDLESS if self.gpu.kind == "software" else _MILLIONS
        packed = Packed([word], struct.pack("I", millions))
        spin = self._opening.compiler.function("forge_spin")
        return Launch(spin, (1, 1, 1), (1, 1, 1), packed, label="spin")
