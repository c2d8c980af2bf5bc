"""What happened here before, for the workers of one engine: what is trusted, and what is not.

A floor has no device to lose: nothing is held against it. Where the state folder cannot be used,
nothing is known of any backend, and all else works.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from forge.circumstances import Circumstances
from forge.errors import (
    BackendError,
    BackendOutOfMemory,
    BackendUnavailable,
    BackendUnsupported,
    BackendWrong,
)
from forge.health import Device
from forge.incident import Incident, write
from forge.paces import Paces
from forge.spec import BackendSpec
from forge.state import (
    Key,
    Ledger,
    Marker,
    Quarantine,
    process_id,
    records_folder,
)
from forge.worker_options import WorkerOptions

if TYPE_CHECKING:
    from forge.doctor import Hit

AFTER_A_KILL = 5.0
"""Seconds that known answers may take on a device where a worker was killed before."""
TOO_SLOW = f"known answers took more than {AFTER_A_KILL:g} s on a device where a worker was killed"

_BLAMELESS = (BackendUnavailable, BackendUnsupported, BackendOutOfMemory)
"""A backend that says no, and why, has done nothing that must not be tried again."""


_DEAD = "device-dead-until-reboot"
"""What a line of the kernel's log may mean for a device: `forge.doctor.signatures`."""
_BEFORE = 2.0
"""Seconds: a kernel may notice before the host does."""


class Past:
    """Owns the ledger, this engine's marker in it, and the paces that were learned since.

    What processes of forge left behind that ended in mid-work is settled when it is made.
    """

    def __init__(self, options: WorkerOptions, ledger: Ledger | None = None) -> None:
        self._ledger = ledger
        if ledger:
            ledger.recover()
        self._circumstances = Circumstances(options, ledger)
        self._marker: Marker | None = None
        self._paces: dict[tuple[str, str], Paces] = {}
        self._marked: tuple[BackendSpec, Key, str] | None = None
        self._suspects: set[str] = set()
        self._wrong: list[int] = []
        self._process = os.getpid()

    def key(self, spec: BackendSpec) -> Key:
        """The backend on the device that it opened, or will open as far as is known."""
        return self._circumstances.key(spec)

    def device(self, spec: BackendSpec) -> Device | None:
        """What it opened last; None where nobody knows."""
        return self._circumstances.known(spec)

    def outdated(self, spec: BackendSpec) -> bool:
        """Whether the machine has other drivers or devices than when it opened that."""
        return self._circumstances.machine_changed(spec)

    def absent(self, spec: BackendSpec) -> bool:
        """Whether it found no device, and nothing has changed since that could bring one."""
        return self._circumstances.known_absent(spec)

    def unavailable(self, spec: BackendSpec) -> None:
        """It found no device: whoever does not ask for it by name need not hear so again."""
        if not spec.floor:
            self._circumstances.absent(spec)

    def self_tested(self, spec: BackendSpec) -> bool:
        """Whether its self-test passed on the device that it opens."""
        test = (
            self._ledger.self_test(self._circumstances.key(spec, model=False))
            if self._ledger
            else None
        )
        return test is not None and test.ok

    def tested(self, spec: BackendSpec, ok: bool, detail: str, seconds: float) -> None:
        """Its self-test is over."""
        if self._ledger and not spec.floor:
            key = self._circumstances.key(spec, model=False)
            self._ledger.self_tested(key, ok, detail, seconds)

    def quarantine(self, spec: BackendSpec) -> Quarantine | None:
        """Why the backend is not to be tried; None where nothing speaks against it."""
        if spec.floor or self._ledger is None:
            return None
        return self._ledger.quarantined(self.key(spec))

    def unproven(self, spec: BackendSpec) -> bool:
        """Whether known answers have to come out right before the device is given a model."""
        if spec.floor or self._ledger is None:
            return False
        probe = self._ledger.last_probe(self.key(spec))
        return probe is None or not probe.ok

    def opened(self, spec: BackendSpec, device: Device) -> None:
        """A backend opened that device: a marker for it is one for this device from now on."""
        self._circumstances.opened(spec, device)
        if self._marked is not None and self._marked[0] is spec:
            self.mark(spec, self._marked[2])

    def proved(self, spec: BackendSpec, seconds: float) -> None:
        """Known answers came out right."""
        if self._ledger and not spec.floor:
            self._ledger.probed(self.key(spec), True, "known answers", seconds)

    def mark(self, spec: BackendSpec, phase: str) -> None:
        """Write down, before it is done, that the device is given work."""
        if self._ledger is None or spec.floor:
            return
        key = self.key(spec)
        if self._marker is not None and self._marked and self._marked[1] == key:
            self._marker.phase(phase)
        else:
            before, self._marker = self._marker, self._ledger.mark(key, phase)
            if before is not None:
                before.clear()
        self._marked = spec, key, phase

    def unmark(self) -> None:
        """The device has nothing to do."""
        if self._marker is not None and self._process == os.getpid():  # a fork has none of its own
            self._marker.clear()
        self._marker = self._marked = None

    def suspect(self, spec: BackendSpec) -> bool:
        """Whether a worker was killed on the device that the backend opens, since this was made."""
        return not spec.floor and self.key(spec).device in self._suspects

    def doubtful(self, spec: BackendSpec) -> bool:
        """Whether known answers have to come out right before the device is given a model."""
        return self.unproven(spec) or self.suspect(spec)

    def failed(self, spec: BackendSpec, error: BackendError, incident: Incident) -> str:
        """Keep what is known of a failure, and the backend from being tried again.

        Where the kernel says that the device will not come back, it is out for every backend until
        the machine starts anew. Returns the record's path, "" if there is none.
        """
        guilty = accused(spec, error, incident) and not self._circumstances.model_changed()
        if guilty and (device := self._circumstances.device(spec)):
            self._suspects.add(device.key)
        if self._ledger is None:
            return ""
        if spec.floor and isinstance(error, BackendWrong):
            self._acquit()
        if isinstance(error, BackendUnavailable | BackendUnsupported):
            return ""  # a no is no hang, and each start would bring another record
        hits = () if spec.floor else _kernel(self.key(spec).device, incident)
        device_gone = any(hit.action == _DEAD for hit in hits)
        path = None
        with suppress(OSError):
            kernel = tuple(dict.fromkeys(hit.signature for hit in hits))
            parts = dict(self.key(spec).parts)
            path = write(replace(incident, kernel=kernel, parts=parts), records_folder())
        record = str(path) if path else ""
        if guilty:
            early = incident.phase == "open"  # whatever the model
            made = self._ledger.quarantine(
                self._circumstances.key(spec, model=not early),
                str(error),
                incident.phase,
                until_reboot=device_gone,
                every_backend=device_gone,
                record=record or None,
            )
            if made is not None and isinstance(error, BackendWrong):
                self._wrong.append(made.id)
        return record

    def _acquit(self) -> None:
        """The floor computes nonsense as well: it is the model's, and no device's."""
        for number in self._wrong:
            if self._ledger:
                self._ledger.clear(number)
        self._wrong.clear()

    def stuck(self, spec: BackendSpec, pid: int) -> None:
        """A worker was killed, and stays in its driver."""
        if self._ledger and not spec.floor:
            self._ledger.stuck(process_id(pid), self.key(spec))

    def paces(self, spec: BackendSpec) -> Callable[[str], Paces]:
        """What was learned of the backend's speed, by device; "" before one is open."""

        def paces(device: str) -> Paces:
            place = (device, spec.name)
            if place not in self._paces:
                known = self._ledger.paces(device, spec.name) if self._ledger else {}
                self._paces[place] = Paces(known)
            return self._paces[place]

        return paces

    def remember(self) -> None:
        """A request has ended: keep the paces that were seen since the last time."""
        self._wrong.clear()
        for (device, backend), paces in self._paces.items():
            new = paces.take()
            if new and self._ledger:
                self._ledger.add_paces(device, backend, new)

    def close(self) -> None:
        """Keep what is new and let the ledger go."""
        self.unmark()
        self.remember()
        if self._ledger:
            self._ledger.close()
            self._ledger = None
            self._circumstances.close()

    def __del__(self) -> None:
        if getattr(self, "_marker", None) is not None:
            with suppress(Exception):  # of an engine that was not closed; the interpreter may end
                self.unmark()


def accused(spec: BackendSpec, error: BackendError, incident: Incident) -> bool:
    """Whether a failure is the backend's or its device's, so that it will come again.

    Before a worker says hello it has loaded no driver: then it is Python's, or the machine's.
    """
    blameless = spec.floor or incident.struck or incident.phase == "start"
    return not (blameless or isinstance(error, _BLAMELESS))


def _kernel(device: str, incident: Incident) -> tuple[Hit, ...]:
    """What the kernel's log says of the device since shortly before it fell silent."""
    from forge.doctor import after_a_fault

    hits = after_a_fault(time.monotonic() - incident.age_s - _BEFORE)
    return tuple(hit for hit in hits if hit.address in ("", device) or ":" not in device)


def described(found: Quarantine) -> str:
    """A quarantine in words, with what to do."""
    day = time.strftime("%Y-%m-%d", time.localtime(found.when))
    how = f"`forge quarantine clear {found.id}` tries it again"
    return f"in quarantine since {day}: {found.reason}; {how}, `forge doctor` explains"
