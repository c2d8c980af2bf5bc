"""What a memory of a backend is about: its device, its settings, the machine and the model."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from forge.errors import ForgeError
from forge.health import Device
from forge.spec import BackendSpec
from forge.state import Key, Ledger, environment, model_digest, openable
from forge.worker_options import WorkerOptions

_ABSENT = Device("", "absent")
_VARIABLES = (
    *("AMD_", "GPU_", "HIP_", "HSA_", "MESA_", "RADV_", "ROCBLAS_", "ROCR_", "ROC_", "VK_"),
)
"""How variables begin that drivers of GPUs read."""


class Circumstances:
    """Owns what is found out once: the machine, the model, and the devices that were opened."""

    def __init__(self, options: WorkerOptions, ledger: Ledger | None) -> None:
        self._options = options
        self._ledger = ledger
        self._environment: dict[str, str] | None = None
        self._model: str | None = None
        self._devices: dict[str, Device] = {}
        self._file = _identity(options.model)

    def key(self, spec: BackendSpec, *, model: bool = True) -> Key:
        """The backend on the device that it opened, or will open as far as is known.

        Without the model it is about any.
        """
        parts = {**self._machine(), "model": "", "settings": _settings(spec)}
        if model:
            parts["model"] = self._digest()
        device = self._devices.get(spec.name) or self.known(spec)
        if device is None:
            return Key(spec.name, self._options.device_of(spec) or "", parts)
        return Key(spec.name, device.key, {**parts, "driver": device.driver})

    def _machine(self) -> dict[str, str]:
        if self._environment is None:
            self._environment = environment()
        return self._environment

    def _to_open(self) -> dict[str, str]:
        """What decides which devices there are to be opened."""
        known = {name: self._machine()[name] for name in ("forge", "kernel", "vulkan", "gpus")}
        return {**known, "nodes": openable()}

    def machine_changed(self, spec: BackendSpec) -> bool:
        """Whether another device may be there than what the backend opened last."""
        asked = self._options.device_of(spec) or ""
        return self._ledger is not None and self._ledger.machine_changed(
            spec.name, asked, self._to_open()
        )

    def _digest(self) -> str:
        if self._model is None:
            self._model = ""
            if self._options.model is not None:
                with suppress(ForgeError):  # whoever loads it says what is wrong with it
                    self._model = model_digest(self._options.model)
        return self._model

    def known(self, spec: BackendSpec) -> Device | None:
        """What the backend opened last, in whichever process; None where nobody knows."""
        if self._ledger is None:
            return None
        return self._ledger.last_opened(spec.name, self._options.device_of(spec) or "")

    def opened(self, spec: BackendSpec, device: Device) -> None:
        """The backend opened that device here."""
        self._devices[spec.name] = device
        if self._ledger:
            asked = self._options.device_of(spec) or ""
            self._ledger.opened(spec.name, asked, device, self._to_open())
            if self.known_absent(spec):
                self._ledger.opened(spec.name, self._nothing(spec), device)

    def absent(self, spec: BackendSpec) -> None:
        """The backend found nothing to open; what it opened before stays known."""
        if self._ledger:
            self._ledger.opened(spec.name, self._nothing(spec), _ABSENT, self._to_open())

    def known_absent(self, spec: BackendSpec) -> bool:
        """Whether it found nothing to open, on this machine as it is now."""
        name, asked = spec.name, self._nothing(spec)
        return (
            self._ledger is not None
            and self._ledger.last_opened(name, asked) == _ABSENT
            and not self._ledger.machine_changed(name, asked, self._to_open())
        )

    def _nothing(self, spec: BackendSpec) -> str:
        """What stands in the ledger for what was asked for and not there."""
        return f"{self._options.device_of(spec) or ''} (not there)"

    def device(self, spec: BackendSpec) -> Device | None:
        """What the backend opened here."""
        return self._devices.get(spec.name)

    def close(self) -> None:
        """The ledger is not asked any more."""
        self._ledger = None

    def model_changed(self) -> bool:
        """Whether somebody wrote into the model's file, or cut it short, while workers map it.

        One that was removed or replaced stays as it is for whoever has it.
        """
        now = _identity(self._options.model)
        return now[:1] == self._file[:1] and now != self._file


def _identity(path: str | None) -> tuple[int, ...]:
    """Of a file: its inode, and what changes when somebody writes into it."""
    if path is not None:
        with suppress(OSError):
            found = os.stat(path)
            return found.st_ino, found.st_size, found.st_mtime_ns
    return ()


def _settings(spec: BackendSpec) -> str:
    """A digest of what a backend is started with: another setting deserves another try."""
    chosen = {name: os.environ[name] for name in os.environ if name.startswith(_VARIABLES)}
    everything = sorted({**chosen, **spec.env}.items()), sorted(spec.options.items())
    return hashlib.blake2b(repr((spec.factory, everything)).encode(), digest_size=8).hexdigest()
