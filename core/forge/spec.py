"""How a backend is found and started, without importing its driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forge.errors import PluginError
from forge.faults import FAULTS, NO_DRIVER, PHASES, SUBTLE

API_VERSION = (1, 1)
"""The backend contract's version: a new minor adds optional things, a new major may break."""


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One backend that a plugin offers: plain data, checked, made in the host process.

    name: what -b takes.
    factory: "package.module:Class", imported in the worker only and called with a BackendConfig.
    priority: `auto` tries the highest first, and a floor last.
    api: the least version of the contract that it needs. Left out, it is the first one: say what
        you wrote it for, or the next major version will refuse it.
    env: set in the worker before the driver loads, over what the person's environment says.
    options: handed to the backend as they are.
    requires: import names that must be installed; the host looks for them and imports none.
    install: what `pip install` needs to bring them: "forge-llm[vulkan]".
    stack: the driver stack that it drives, "rocm" or "vulkan": what `forge doctor` knows of that
        decides whether it is tried.
    proven: its priority once `forge selftest` has passed on the device, if that is another one.
    floor: a backend of last resort without a device to lose. Every other one falls back to it; it
        is restarted once a reply and never quarantined.
    """

    name: str
    factory: str
    priority: int = 0
    api: tuple[int, int] = (1, 0)
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    requires: tuple[str, ...] = ()
    install: str = ""
    floor: bool = False
    stack: str = ""
    proven: int | None = None

    def __post_init__(self) -> None:
        """PluginError names the field that is not what it should be."""
        self._need(_word(self.name) and self.name != "auto", "name", "a word other than auto")
        module, _, attribute = self.factory.partition(":") if _word(self.factory) else ("", "", "")
        self._need(bool(module and attribute), "factory", '"package.module:Class"')
        self._need(type(self.priority) is int, "priority", "a whole number")
        self._need(_version(self.api), "api", "two whole numbers, (major, minor)")
        self._need(_texts(self.env), "env", "a mapping of texts to texts")
        self._need(_texts(self.options), "options", "a mapping of texts to texts")
        requires = isinstance(self.requires, tuple) and all(map(_word, self.requires))
        self._need(requires, "requires", "a tuple of import names")
        self._need(isinstance(self.install, str), "install", "a text")
        self._need(isinstance(self.floor, bool), "floor", "True or False")
        self._need(isinstance(self.stack, str), "stack", "a text")
        number = self.proven is None or type(self.proven) is int
        self._need(number, "proven", "a whole number or None")

    def _need(self, right: bool, name: str, what: str) -> None:
        if not right:
            value = getattr(self, name)
            raise PluginError(f"BackendSpec {self.name!r}: {name} is {value!r:.80}, not {what}")


@dataclass(frozen=True, slots=True)
class DriverFault:
    """A way in which a backend's own driver, or a simulated one, can be made to fail.

    backend: the name of the plugin's backend that it is for.
    fault, phase: as in `forge.testing.faulty`, or "no-driver" in phase "open": the driver is not
        there, so that the backend has to be unavailable and say what to do.
    env, options: added to the spec's own, they make the driver fail so.
    """

    backend: str
    fault: str
    phase: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """PluginError names the field that is not what it should be."""
        known = (*FAULTS, *SUBTLE, NO_DRIVER)
        self._need(_word(self.backend), "backend", "a backend's name")
        self._need(self.fault in known, "fault", f"one of {', '.join(known)}")
        here = ("open",) if self.fault == NO_DRIVER else PHASES
        self._need(self.phase in here, "phase", f"one of {', '.join(here)}")
        self._need(_texts(self.env), "env", "a mapping of texts to texts")
        self._need(_texts(self.options), "options", "a mapping of texts to texts")

    def _need(self, right: bool, name: str, what: str) -> None:
        if not right:
            value = getattr(self, name)
            raise PluginError(
                f"DriverFault of {self.backend!r}: {name} is {value!r:.80}, not {what}"
            )


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """What a backend is opened with: the person's choices, and what its own spec says.

    device: what --device says of the backend that was named, in that backend's own words (an index,
        part of a name, an address); None leaves the choice to the backend.
    threads: how many CPU threads it may use; None is all that the process may run on.
    options: those of its BackendSpec.
    frugal: forge asks again after this device ran out of memory: choose smaller chunks and buffers.
    asked: the person named this backend, or has all of them listed. Unasked, one that would run on
        a device that is none, such as a CPU in the guise of a GPU, is rather unavailable.
    """

    device: str | None = None
    threads: int | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    asked: bool = False
    frugal: bool = False


def _word(value: object) -> bool:
    return (
        isinstance(value, str) and bool(value) and not any(c.isspace() or c == "," for c in value)
    )


def _texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(text, str) for item in value.items() for text in item
    )


def _version(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(n) is int for n in value)
