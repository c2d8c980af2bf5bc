"""What forge remembers between runs: quarantines, markers, probes, devices and paces.

with Ledger.open() as ledger:
    ledger.recover()  # what a crash left behind
    marker = ledger.mark(key, "load")  # on disk before the GPU is touched
    ...
    marker.clear()
"""

from __future__ import annotations

from forge.state.environment import environment, openable
from forge.state.folder import records_folder, state_folder
from forge.state.key import Key
from forge.state.ledger import Ledger
from forge.state.machine import Machine
from forge.state.marker import Marker, Recovered
from forge.state.model import model_digest
from forge.state.paces import BINS, Paces
from forge.state.probes import Probe
from forge.state.processes import ProcessId, boot_id, process_id, status, this_process
from forge.state.quarantine import Quarantine, Standing

__all__ = [
    "BINS",
    "Key",
    "Ledger",
    "Machine",
    "Marker",
    "Paces",
    "Probe",
    "ProcessId",
    "Quarantine",
    "Recovered",
    "Standing",
    "boot_id",
    "environment",
    "model_digest",
    "openable",
    "process_id",
    "records_folder",
    "state_folder",
    "status",
    "this_process",
]
