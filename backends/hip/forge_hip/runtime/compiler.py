"""Kernels by hiprtc, compiled on this machine for its device, and kept on disk.

What is kept is keyed by the source, its headers and options, the instruction set and ROCm's
versions: after an update everything is compiled anew. Where that fails, what was made before the
update, or on another machine, is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from forge.backend import (
    BackendError,
    BackendLost,
    BackendOutOfMemory,
    BackendUnavailable,
    Progress,
)
from forge_gpu import kept
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.errors import compile_failure
from forge_hip.runtime.shelf import Shelf, digest

OPTIONS = ("-O3", "-std=c++17", "-ffp-contract=fast")
"""Of every compilation, before the unit's own."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A translation unit: what hiprtc compiles at once.

    `entries` are the kernels (extern "C") that are wanted of it, `headers` (name, text) what it
    includes. `name` is for messages.
    """

    name: str
    source: str
    options: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


def nothing(phase: str, done: int, total: int, detail: str = "") -> None:
    """A progress that nobody hears of."""
    del phase, done, total, detail


@dataclass(slots=True)
class Compiler:
    """Owns the loaded modules of a device of instruction set `arch` ("gfx1100"), by entry."""

    driver: Driver
    arch: str
    folder: Path = field(default_factory=partial(kept.folder, "hip"))
    notes: list[str] = field(default_factory=list[str])
    """What was not as it should be, for people."""
    compiled: int = 0
    """How many units went through hiprtc."""
    _modules: list[Any] = field(default_factory=list[Any])
    _functions: dict[str, Any] = field(default_factory=dict[str, Any])
    _version: str = ""

    @property
    def version(self) -> str:
        """ROCm's, as far as what it compiles depends on it."""
        if not self._version:
            runtime = self.driver.call("hipRuntimeGetVersion")
            try:
                major, minor = self.driver.compile("hiprtcVersion")
            except BackendUnavailable:
                return f"{runtime} without hiprtc"
            self._version = f"{runtime} {major}.{minor}"
        return self._version

    def shelf(self, unit: Unit) -> Shelf:
        """Where the unit's objects are kept."""
        headers = (text for header in unit.headers for text in header)
        made_of = digest([unit.source, *headers, "", *OPTIONS, *unit.options, "", self.arch])
        return Shelf(self.folder / self.arch, made_of, digest([self.version]))

    def missing(self, units: Sequence[Unit]) -> list[Unit]:
        """Those with an entry that is not loaded yet."""
        return [u for u in units if any(entry not in self._functions for entry in u.entries)]

    def prepare(self, units: Sequence[Unit], progress: Progress = nothing) -> None:
        """Load what is missing, compiled where it is not on disk; `progress` hears of each unit."""
        missing = self.missing(units)
        for done, unit in enumerate(missing, 1):
            self._load(unit)
            progress("compile", done, len(missing), unit.name)

    def function(self, entry: str) -> Any:
        """A kernel that was prepared."""
        try:
            return self._functions[entry]
        except KeyError:
            raise BackendError(f"no kernel {entry} was prepared") from None

    def close(self) -> None:
        """Unload all of it; nothing of it may be under way."""
        self._functions.clear()
        while self._modules:
            module = self._modules.pop()
            if not self.driver.lost:
                self.driver.call("hipModuleUnload", module)

    def _load(self, unit: Unit) -> None:
        wrong: BackendError | None = None
        for data in self._data(unit):
            try:
                module = self.driver.call("hipModuleLoadData", data)
                self._modules.append(module)
                for entry in unit.entries:
                    function = self.driver.call("hipModuleGetFunction", module, entry.encode())
                    self._functions[entry] = function
            except (BackendLost, BackendOutOfMemory):
                raise
            except BackendError as error:  # of another release, or damaged: the next may do
                wrong = error
            else:
                return
        raise wrong or BackendError(f"there is no code for {unit.name}")

    def _data(self, unit: Unit) -> Iterator[bytes]:
        """Objects to try: what is kept, what hiprtc makes, what else was made of the source."""
        shelf = self.shelf(unit)
        if data := shelf.read():
            yield data
        wrong = BackendError(f"hiprtc did not come back from {unit.name} before")
        others = shelf.others()
        first = next(others, b"")
        if not (shelf.unfinished and first):
            shelf.begin(unit.name)
            try:
                data = self._compiled(unit)
            except BackendLost:
                raise
            except BackendError as error:
                wrong = error
            else:
                shelf.write(data)
                yield data
                return
            finally:
                shelf.end()
        if not first:
            raise wrong
        self.notes.append(f"{wrong}; code of another release is used")
        yield first
        yield from others

    def _compiled(self, unit: Unit) -> bytes:
        rtc, name = self.driver.compile, unit.name
        names, texts = ([part.encode() for part in parts] for parts in _columns(unit.headers))
        program = rtc(
            *("hiprtcCreateProgram", unit.source.encode(), f"{name}.hip".encode()),
            *(len(names), texts, names),
        )
        wanted = [f"--offload-arch={self.arch}", *OPTIONS, *unit.options]
        options = [option.encode() for option in wanted]
        try:
            self.compiled += 1
            if wrong := self.driver.compiled(program, options):
                raise compile_failure(wrong, "hiprtcCompileProgram", self._log(program), name)
            code = bytearray(rtc("hiprtcGetCodeSize", program))
            rtc("hiprtcGetCode", program, code)
        finally:
            if hasattr(program, "createRef"):
                rtc("hiprtcDestroyProgram", program.createRef())
        return bytes(code)

    def _log(self, program: Any) -> str:
        log = bytearray(self.driver.compile("hiprtcGetProgramLogSize", program))
        self.driver.compile("hiprtcGetProgramLog", program, log)
        return bytes(log).rstrip(b"\0").decode(errors="replace")


def _columns(headers: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [name for name, _ in headers], [text for _, text in headers]
