"""How a backend is found and started, without importing its driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

API_VERSION = (1, 0)
"""The backend contract's version: a new minor adds optional things, a new major may break."""


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One backend that a plugin offers; plain data, made in the host process.

    name: what -b takes.
    factory: "package.module:Class", imported in the worker only and called with a BackendConfig.
    priority: `auto` tries the highest first.
    api: the contract's version it was written for.
    env: set in the worker before the driver loads.
    options: handed to the backend as they are.
    requires: import names that must be installed; `extra` is the pip extra that brings them.
    floor: a backend of last resort without a device to lose. It is restarted once a reply and never
        quarantined.
    """

    name: str
    factory: str
    priority: int = 0
    api: tuple[int, int] = API_VERSION
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    requires: tuple[str, ...] = ()
    extra: str = ""
    floor: bool = False


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """What a backend is opened with: the person's choices, and its own spec's `options`."""

    device: str | None = None
    threads: int | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
