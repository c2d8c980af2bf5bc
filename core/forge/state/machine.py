"""What the ledger asks of the machine it runs on; a test hands it another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forge.state import processes
from forge.state.processes import PROC, ProcessId, ProcessStatus


@dataclass(frozen=True, slots=True)
class Machine:
    """Where its files are, and its clocks.

    now: seconds since 1970. ticks: seconds on a clock that all processes of a boot share and that
        nobody sets.
    """

    proc: Path = PROC
    root: Path = Path("/")
    now: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic

    @property
    def boot(self) -> str:
        """This boot's name, "" if it has none."""
        return processes.boot_id(self.proc)

    @property
    def name(self) -> str:
        """The machine's own name, "" if it has none."""
        return processes.machine_id(self.root)

    @property
    def process(self) -> ProcessId:
        """The process that asks."""
        return processes.this_process(self.proc)

    def status(self, process: ProcessId) -> ProcessStatus:
        """Whether a process of this boot is gone, runs or is stuck."""
        return processes.status(process, self.proc)
