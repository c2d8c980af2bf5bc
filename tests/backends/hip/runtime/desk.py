"""An open simulated device, and files as the kernel's amdgpu driver shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forge.backend import Array
from forge_hip.runtime.compiler import Compiler
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.launches import Packed
from forge_hip.runtime.ping import UNIT
from forge_hip.runtime.pool import Arenas, Pool
from forge_hip.runtime.stream import Stream

ONE = (1, 1, 1)


class Desk:
    """Owns driver, stream, pool and compiler; the ring is small, so that it goes round."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.stream = Stream(self.driver, 30, step=4096, spin=30)
        self.pool = Pool(self.driver, small=1 << 20)
        self.compiler = Compiler(self.driver, "gfx1100")
        self.compiler.prepare([UNIT])

    def plus(self, number: int, to: int) -> int:
        """What the device computes with the runtime's own kernel."""
        arenas = Arenas(self.pool)
        given, out = arenas.region(4), arenas.region(4)
        self.stream.copy_to(given, np.array([number], np.uint32))
        ping = self.compiler.function("forge_ping")
        arguments = Packed([given, out], to.to_bytes(4, "little"))
        self.stream.launch(ping, ONE, ONE, arguments)
        found: Array = self.stream.copy_from(out, np.uint32)
        arenas.close()
        return int(found[0])

    def close(self) -> None:
        self.compiler.close()
        self.stream.close()
        self.pool.close()


class Layers:
    """Kernels that write a number where the host reads it while the device works."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._zero = desk.pool.take(4)
        desk.stream.fill(self._zero)
        self._word = Arenas(desk.pool, "host", 4096).region(4)
        self._word.view(np.int32)[0] = -1

    def record(self, layer: int) -> None:
        """The device begins this layer."""
        ping = self._desk.compiler.function("forge_ping")
        arguments = Packed([self._zero, self._word], layer.to_bytes(4, "little"))
        self._desk.stream.launch(ping, ONE, ONE, arguments)

    def where(self) -> str:
        """The last that it began."""
        return f"layer {self._word.view(np.int32)[0]}"


def kfd(root: Path, gpus: Sequence[dict[str, int]]) -> Path:
    """A CPU's node, and one for each GPU: {"bus": 3, "version": 110000, "simds": 96, ...}."""
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    (nodes / "0").mkdir(parents=True)
    (nodes / "0/properties").write_text("cpu_cores_count 16\nsimd_count 0\nlocation_id 0\n")
    for index, gpu in enumerate(gpus, 1):
        (nodes / str(index)).mkdir()
        (nodes / str(index) / "properties").write_text(
            f"cpu_cores_count 0\nsimd_count {gpu.get('simds', 64)}\n"
            f"gfx_target_version {gpu.get('version', 110000)}\n"
            f"location_id {gpu['bus'] << 8}\ndomain {gpu.get('domain', 0)}\n"
            f"unique_id {gpu.get('unique', 0)}\ndrm_render_minor {gpu.get('render', 0)}\n"
        )
    return root
