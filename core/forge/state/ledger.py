"""What forge remembers between runs, in one object. It never fails: at worst it knows nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from forge.health import Device
from forge.state import devices, marker, probes, quarantine, stuck
from forge.state import paces as learned
from forge.state.database import Database
from forge.state.environment import environment
from forge.state.folder import state_folder
from forge.state.key import Key
from forge.state.machine import Machine
from forge.state.marker import Marker, Recovered
from forge.state.paces import DECAY, Paces
from forge.state.probes import Probe, ProbeKind
from forge.state.processes import ProcessId
from forge.state.quarantine import Quarantine, Standing


class Ledger:
    """Owns the state folder's database. Several processes may each have one at a time.

    No method raises for what the file or its folder is like: what cannot be kept is forgotten when
    the process ends, and `notes` says so.
    """

    def __init__(self, database: Database, machine: Machine) -> None:
        self._database = database
        self._machine = machine

    @classmethod
    def open(cls, folder: Path | None = None, machine: Machine | None = None) -> Ledger:
        """The ledger of a folder, by default `state_folder()`; the file is opened when needed."""
        where = state_folder if folder is None else folder.absolute()
        return cls(Database(where), machine or Machine())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the database: damage, no space, no permission."""
        return tuple(self._database.notes)

    @property
    def kept(self) -> bool:
        """Whether what it learns now outlasts this process."""
        return self._database.read(lambda _: True, False) and self._database.on_disk

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Markers

    def mark(self, key: Key, phase: str) -> Marker:
        """Say on disk that a GPU is about to be used; clear it when no work is outstanding."""
        return marker.mark(self._database, key, phase, self._machine)

    def recover(self) -> list[Recovered]:
        """Settle what processes that are gone left marked; once, whoever asks first."""
        if not self._database.read(lambda db: marker.abandoned(db, self._machine), False):
            return []
        return self._database.write(lambda db: marker.recover(db, self._machine), [], durable=True)

    # Quarantine

    def quarantine(
        self,
        key: Key,
        reason: str,
        phase: str = "",
        *,
        until_reboot: bool = False,
        every_backend: bool = False,
        record: str | None = None,
    ) -> Quarantine | None:
        """Keep a combination from being used until its key changes, or until reboot.

        On disk when this returns; None if it could not be kept even for this process.
        """
        boot = quarantine.until_reboot(self._machine) if until_reboot else ""
        when = self._machine.now()
        new = Quarantine(0, key, reason, phase, when, boot, record or "", every_backend)
        return self._database.write(
            lambda db: quarantine.put(db, new, self._machine), None, durable=True
        )

    def quarantined(self, key: Key) -> Quarantine | None:
        """Why a combination is not to be used, the latest reason; None if there is none."""
        self.look()
        boot = self._machine.boot
        everything: list[Quarantine] = self._database.read(quarantine.everything, [])
        return next((found for found in reversed(everything) if found.holds(key, boot)), None)

    def quarantines(self, present: Mapping[str, str] | None = None) -> list[Standing]:
        """All of them as they stand now, the oldest first; `present` is `environment()`."""
        self.look()
        present, boot = environment() if present is None else present, self._machine.boot
        found = []
        everything: list[Quarantine] = self._database.read(quarantine.everything, [])
        for one in everything:
            changed = one.lapsed(present, boot)
            found.append(Standing(one, not changed, tuple(changed)))
        return found

    def clear(self, what: int | str) -> int:
        """Remove the one of that id, those of that backend, or "all"; how many there were."""
        return self._database.write(lambda db: quarantine.clear(db, what), 0, durable=True)

    # Processes that stay in their driver

    def stuck(self, process: ProcessId, key: Key, phase: str = "") -> Quarantine | None:
        """A killed worker is still there: every backend leaves its device alone, see `look`."""
        return self._database.write(
            lambda db: stuck.note(db, process, key, phase, self._machine), None, durable=True
        )

    def look(self) -> bool:
        """Whether something changed about such processes.

        One that is gone frees its device, which needs a probe; one that is still there 30 s after
        it was noted keeps it from everybody until reboot.
        """
        if not self._database.read(lambda db: stuck.unsettled(db, self._machine), False):
            return False
        return self._database.write(lambda db: stuck.settle(db, self._machine), False, durable=True)

    # Probes and self-tests

    def probed(self, key: Key, ok: bool, detail: str = "", seconds: float = 0.0) -> None:
        """A probe's outcome; `seconds` it took."""
        self._probed(key, ok, detail, seconds, "probe")

    def last_probe(self, key: Key) -> Probe | None:
        """The latest probe that still counts: its key holds, and nothing happened since."""
        return self._database.read(lambda db: probes.last(db, key, "probe"), None)

    def unprobe(self, key: Key) -> None:
        """Something happened to the key's device: it needs a probe before it is used."""
        self._database.write(lambda db: probes.forget(db, key), None)

    def self_tested(self, key: Key, ok: bool, detail: str = "", seconds: float = 0.0) -> None:
        """A self-test's outcome."""
        self._probed(key, ok, detail, seconds, "self-test")

    def _probed(self, key: Key, ok: bool, detail: str, seconds: float, kind: ProbeKind) -> None:
        new = Probe(key, ok, detail, seconds, self._machine.now(), kind)
        self._database.write(lambda db: probes.put(db, new), None)

    def self_test(self, key: Key) -> Probe | None:
        """The latest self-test whose key still holds."""
        return self._database.read(lambda db: probes.last(db, key, "self-test"), None)

    # Devices and paces

    def opened(
        self, backend: str, asked: str, device: Device, parts: Mapping[str, str] | None = None
    ) -> None:
        """A backend opened this device when it was `asked` for that one, "" for any.

        parts: of the machine, by name, that decide what there is to be opened.
        """
        new = devices.Opened(backend, asked, replace(device), dict(parts or {}))
        if self._last_opened(backend, asked) != new:
            self._database.write(lambda db: devices.put(db, new), None)

    def last_opened(self, backend: str, asked: str) -> Device | None:
        """What it opened last for that choice."""
        found = self._last_opened(backend, asked)
        return found.device if found else None

    def machine_changed(self, backend: str, asked: str, parts: Mapping[str, str]) -> bool:
        """Whether the machine has other drivers or devices than when it opened that one."""
        found = self._last_opened(backend, asked)
        return found is not None and any(
            parts.get(name, value) != value for name, value in found.parts.items()
        )

    def _last_opened(self, backend: str, asked: str) -> devices.Opened | None:
        return self._database.read(lambda db: devices.last(db, backend, asked), None)

    def paces(self, device: str, backend: str) -> Paces:
        """The counts learned so far, by phase and bucket."""
        return self._database.read(lambda db: learned.read(db, device, backend), {})

    def add_paces(
        self,
        device: str,
        backend: str,
        counts: Mapping[tuple[str, int], Sequence[float]],
        decay: float = DECAY,
    ) -> None:
        """Decay the stored counts of each phase and bucket given, and add these to them.

        ValueError unless each has `BINS` finite counts.
        """
        learned.check(counts, decay)
        self._database.write(lambda db: learned.add(db, device, backend, counts, decay), None)
