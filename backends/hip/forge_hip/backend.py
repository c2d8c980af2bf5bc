"""An AMD GPU through HIP: opened once, for as many graphs as are compiled."""

from __future__ import annotations

from forge.backend import BackendConfig, BackendHung, BackendLost, Check, Device, Memory
from forge_gpu.backend import GpuBackend
from forge_gpu.pacing import Pace
from forge_hip.device import HipGpu
from forge_hip.features import features, switched_off
from forge_hip.functions import Kernels
from forge_hip.queue import Queue
from forge_hip.runtime.opening import Opening
from forge_hip.workshop import Workshop


class HipBackend(GpuBackend):
    """Owns the driver's edge: stream, pool and compiler of one device."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        off = switched_off()
        self._opening = Opening(config)
        try:
            self._workshop = self._made("graphs" not in off)
        except (BackendHung, BackendLost):
            raise  # the process ends; what the device may still work on is not freed before
        except BaseException:
            self._opening.close()
            raise

    def _made(self, graphs: bool) -> Workshop:
        opening, one = self._opening, self._opening.properties
        self.gpu = HipGpu(
            *(one.arch, one.kind, features(one.arch, one.shared)),
            *(one.compute_units, opening.pool.allocation_bytes),
        )
        self._kernels = Kernels(self.gpu, opening.compiler)
        queue = Queue(opening.stream)
        return Workshop(
            *(self._kernels, queue, Pace(queue, one.kind), opening.stream, opening.pool),
            graphs=graphs and opening.graphs(),
        )

    @property
    def kernels(self) -> Kernels:
        """Of the open device."""
        return self._kernels

    @property
    def workshop(self) -> Workshop:
        """What graphs run with on the open device."""
        return self._workshop

    @property
    def device(self) -> Device:
        """The device that is open."""
        return self._opening.device

    def devices(self) -> list[Device]:
        """All AMD GPUs that could be opened."""
        return self._opening.devices

    def memory(self) -> Memory:
        """Of the device, as its driver tells it now."""
        return self._opening.memory()

    def checks(self) -> list[Check]:
        """What was found out about the driver and the device."""
        return [*self._opening.checks(), Check("features", True, str(self.gpu.features))]

    def close(self) -> None:
        """Give the device back; called once more does nothing."""
        self._opening.close()
