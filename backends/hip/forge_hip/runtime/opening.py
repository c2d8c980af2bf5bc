"""Opens the GPU: driver, stream, pool and compiler of one device; and says what was found."""

from __future__ import annotations

import os

from forge.backend import (
    BackendConfig,
    BackendError,
    BackendUnavailable,
    Check,
    Device,
    Memory,
    Progress,
)
from forge_hip.runtime import graphs, kfd, ping
from forge_hip.runtime.compiler import Compiler, nothing
from forge_hip.runtime.devices import (
    SUPPORTED,
    Properties,
    choose,
    hidden,
    narrow,
    own_choice,
    presented,
    read,
)
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.errors import LOOK, OVERRIDE
from forge_hip.runtime.marks import Teller
from forge_hip.runtime.pool import SHARE, Pool
from forge_hip.runtime.stream import SPIN_S, Stream

LIMIT = "limit"
"""An option of the backend: seconds after which a wait for the device counts as stuck."""
_SOFTWARE_S = 60.0
"""Of a simulated device, which shares its cores with everything else."""
_GIB = 2**30


class Opening:
    """Owns driver, stream, pool and compiler. BackendUnavailable, with advice, where it cannot be.

    The environment of this process is narrowed to one GPU first, if there are several.
    """

    def __init__(self, config: BackendConfig, root: str = "/") -> None:
        self._own_choice = own_choice(os.environ)
        self._node = narrow(config.device, root=root)
        self._nodes = kfd.nodes(root)
        self.driver = Driver()
        self.listed = self._seen(root)
        self.properties = choose(self.listed, config.device, self._node)
        self._refuse(config)
        self.driver.call("hipSetDevice", self.properties.index)
        software = self.properties.kind == "software"
        limit = _limit(config.options.get(LIMIT)) or (_SOFTWARE_S if software else None)
        # A simulated device works while it is looked at.
        spin = _SOFTWARE_S if software else SPIN_S
        self.stream = Stream(self.driver, limit, self.properties.name, spin=spin)
        most = self.properties.memory * SHARE[0] // SHARE[1]
        self.pool = Pool(self.driver, self.properties.name, allocation_bytes=most)
        self.compiler = Compiler(self.driver, self.properties.arch)
        self._teller = Teller(self.driver.marks)
        self._graphs: str | None = None

    @property
    def version(self) -> str:
        """The HIP runtime's: "6.2.41134"."""
        number = int(self.driver.call("hipRuntimeGetVersion"))
        return f"{number // 10_000_000}.{number // 100_000 % 100}.{number % 100_000}"

    @property
    def device(self) -> Device:
        """The one that is open."""
        return self._presented(self.properties)

    @property
    def devices(self) -> list[Device]:
        """All that could be opened; those that the driver was not shown come from the kernel."""
        shown = [self._presented(one) for one in self.listed]
        known = {device.address for device in shown}
        if self._own_choice:
            return shown
        return shown + [hidden(n) for n in self._nodes if n.address not in known]

    def graphs(self, progress: Progress = nothing) -> bool:
        """Whether captured graphs compute here what launches do; tried when first asked."""
        if self._graphs is None:
            self.compiler.prepare([ping.UNIT], progress)
            kernel = self.compiler.function(ping.NAME)
            self._graphs = graphs.works(self.stream, self.pool, kernel)
        return not self._graphs

    def memory(self) -> Memory:
        """Of the device, as the driver tells it now."""
        free, total = self.driver.call("hipMemGetInfo")
        return Memory(int(total), max(0, min(int(free), int(total))))

    def checks(self) -> list[Check]:
        """For `forge backends`; what is not well is told whenever a model is loaded."""
        one, memory = self.properties, self.memory()
        where = f", {one.address}" if one.address else ""
        found = [
            Check("driver", True, f"HIP {self.version}, {self.driver.path}"),
            Check(
                *("device", True),
                f"{one.arch}{where}, {one.compute_units} compute units, waves of {one.wave}, "
                f"{one.shared >> 10} KiB of shared memory",
            ),
            Check(
                *("memory", True),
                f"{memory.free / _GIB:.1f} of {memory.total / _GIB:.1f} GiB to be had",
            ),
            self._compiler_check(),
        ]
        if self._graphs is not None:
            detail = self._graphs or "a captured graph computes what its launches do"
            found.append(Check("graphs", True, detail))
        if self._own_choice:
            found.append(Check("chosen by you", True, self._own_choice))
        if value := os.environ.get(OVERRIDE):
            found.append(self._override_check(value))
        found += [Check("kernels", False, note) for note in self.compiler.notes]
        return found

    def close(self) -> None:
        """Give the device back; called once more does nothing."""
        self._teller.close()
        if self.stream.open:
            self.compiler.close()
            self.stream.close()
            self.pool.close()

    def _presented(self, one: Properties) -> Device:
        nodes = {node.address: node for node in self._nodes}
        driver = f"HIP {self.version}"
        return presented(one, driver, None if self._own_choice else nodes.get(one.address))

    def _seen(self, root: str) -> list[Properties]:
        try:
            count = int(self.driver.call("hipGetDeviceCount"))
        except BackendUnavailable as error:
            said = str(error).removesuffix(LOOK)
            raise BackendUnavailable(f"{said}: {kfd.why_none(root)}") from None
        if not count:
            raise BackendUnavailable(f"HIP finds no AMD GPU: {kfd.why_none(root)}")
        return [read(self.driver, index, self._nodes) for index in range(count)]

    def _refuse(self, config: BackendConfig) -> None:
        one = self.properties
        if one.kind == "software" and not config.asked and config.device is None:
            raise BackendUnavailable(f"{one.name} is no GPU: `-b hip` uses it all the same")
        if one.wave != 32:
            raise BackendUnavailable(
                f"{one.name} ({one.arch}) works in waves of {one.wave}, and forge's kernels in 32: "
                "they are for RDNA2 and newer"
            )
        if not SUPPORTED.fullmatch(one.arch) and not config.asked:
            raise BackendUnavailable(
                f"forge's HIP kernels are for RDNA2 to RDNA4, and {one.name} is "
                f"{one.arch or 'unknown'}: Vulkan serves it; `-b hip` tries it all the same"
            )

    def _compiler_check(self) -> Check:
        if not self.driver.compiler_path:
            advice = "install ROCm's hiprtc (Debian and Ubuntu: libhiprtc-6; Fedora: rocm-hip)"
            return Check("compiler", False, "there is no libhiprtc here", advice)
        try:
            return Check("compiler", True, f"hiprtc of {self.compiler.version}")
        except BackendError as error:
            return Check("compiler", False, str(error), "install ROCm's hiprtc of one release")

    def _override_check(self, value: str) -> Check:
        true = {node.address: node.arch for node in self._nodes}.get(self.properties.address, "")
        told = kfd.overridden(os.environ)
        redundant = not true or true == told
        return Check(
            *("override", redundant),
            f"{OVERRIDE}={value} has ROCm take {true or 'this GPU'} for {told or 'nothing known'}",
            f"unset {OVERRIDE}: forge compiles for the GPU itself",
        )


def _limit(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise BackendUnavailable(f"the option {LIMIT} is {text!r}: give seconds")
    return seconds
