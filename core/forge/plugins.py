"""Discovery: entry points in the group `forge` become plugins; a broken one is only listed.

What a plugin prints while it is loaded goes to standard error: standard output is the reply's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pluggy

from forge import hookspecs
from forge.discovery import GROUP, chosen, discover
from forge.errors import PluginError, UsageError
from forge.spec import API_VERSION, BackendSpec, DriverFault

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

_LONGEST = 500
"""Characters of a reason."""


@dataclass(slots=True)
class Plugin:
    """One entry point: who ships it, what it offers, and why it is broken if it is."""

    name: str
    distribution: str
    version: str
    backends: tuple[BackendSpec, ...] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        """What tells it from a plugin of the same name that someone else ships."""
        return f"{self.distribution}:{self.name}"


class Plugins:
    """All plugins that are installed, or those that FORGE_PLUGINS=a,b names."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        found, self.unknown = discover()
        self.plugins = [Plugin(f.name, f.distribution, f.version, (), f.problem) for f in found]
        for plugin, entry in zip(self.plugins, [f.entry for f in found], strict=True):
            if entry:
                self._load(entry, plugin)
        self._refuse_doubles()

    def _load(self, entry: EntryPoint, plugin: Plugin) -> None:
        taken = self._manager.has_plugin(plugin.key)
        try:
            with redirect_stdout(sys.stderr):
                self._register(entry, plugin)
        except KeyboardInterrupt:  # the person's, at a plugin that takes too long
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit, a panic in Rust, a test's skip
            plugin.problem = _reason(error)
            if not taken and self._manager.has_plugin(plugin.key):
                self._manager.unregister(name=plugin.key)

    def _register(self, entry: EntryPoint, plugin: Plugin) -> None:
        module = entry.load()
        self._manager.register(module, plugin.key)
        if not self._manager.get_hookcallers(module):
            raise PluginError("it implements no hook of forge: is @hookimpl missing?")
        self._manager.check_pending()
        found: list[BackendSpec] = []
        for function in self._implementations("forge_backends", plugin):
            offered = function()
            if not isinstance(offered, list | tuple):
                raise PluginError(f"forge_backends returned {type(offered).__name__}, not a list")
            found += [_checked(spec, plugin) for spec in offered]
        plugin.backends = tuple(found)

    def _implementations(self, hook: str, plugin: Plugin) -> Iterator[Callable[..., object]]:
        caller = getattr(self._manager.hook, hook)
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name == plugin.key:
                yield implementation.function

    def _refuse_doubles(self) -> None:
        owner: dict[str, Plugin] = {}
        for plugin in self.plugins:
            names = [spec.name for spec in plugin.backends]
            taken = [name for name in names if name in owner or names.count(name) > 1]
            if taken:
                first = owner.get(taken[0], plugin)
                plugin.problem = (
                    f"the backend {taken[0]} is plugin {first.name}'s already "
                    f"(of {first.distribution})"
                )
                plugin.backends = ()
            owner |= {spec.name: plugin for spec in plugin.backends}

    def backends(self) -> list[BackendSpec]:
        """Every backend that is offered, the first to try first: floors come last."""
        found = [spec for plugin in self.plugins for spec in plugin.backends]
        return sorted(found, key=lambda spec: (spec.floor, -spec.priority, spec.name))

    def backend(self, name: str) -> BackendSpec:
        """The backend of that name, or UsageError listing those there are."""
        for spec in self.backends():
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.backends()) or "none"
        more = [
            f"plugin {p.name} of {p.distribution} is broken: {p.problem}" for p in self.broken()
        ]
        if limits := self.limits():
            more.append(limits)
        raise UsageError("\n".join([f"there is no backend {name!r}; there are: {known}", *more]))

    def limits(self) -> str:
        """What FORGE_PLUGINS leaves out, in words; "" where it is not set."""
        names = chosen()
        if names is None:
            return ""
        absent = f"; no plugin is called {', '.join(self.unknown)}" if self.unknown else ""
        return f"FORGE_PLUGINS limits the plugins to {', '.join(names) or 'none'}{absent}"

    def faults(self, backend: str) -> list[DriverFault]:
        """The ways that are declared to make a backend's driver fail; PluginError for nonsense."""
        found: list[DriverFault] = []
        for plugin in self.plugins:
            if not plugin.problem:
                for function in self._implementations("forge_faults", plugin):
                    try:
                        with redirect_stdout(sys.stderr):
                            offered = function()
                    except KeyboardInterrupt:
                        raise
                    except BaseException as error:  # whatever a plugin raises
                        reason = _reason(error)
                        raise PluginError(f"{plugin.name}: forge_faults: {reason}") from error
                    if not isinstance(offered, list | tuple) or not all(
                        isinstance(fault, DriverFault) for fault in offered
                    ):
                        raise PluginError(
                            f"{plugin.name}: forge_faults returned {offered!r:.80}, "
                            f"not a list of DriverFault"
                        )
                    found += [fault for fault in offered if fault.backend == backend]
        return found

    def broken(self) -> list[Plugin]:
        """The plugins that cannot be used."""
        return [plugin for plugin in self.plugins if plugin.problem]

    def add_commands(self, subparsers: _SubParsersAction[ArgumentParser]) -> None:
        """Let every sound plugin add its verbs."""
        for plugin in self.plugins:
            for function in self._implementations("forge_commands", plugin):
                if plugin.problem:
                    continue
                try:
                    with redirect_stdout(sys.stderr):
                        function(subparsers)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001  # listed, not fatal
                    plugin.problem = f"forge_commands: {_reason(error)}"


def missing(spec: BackendSpec) -> str:
    """What has to be installed for a backend, as a command; "" when nothing is missing."""
    absent = [name for name in spec.requires if _absent(name)]
    if not absent:
        return ""
    return f"{', '.join(absent)} is not installed: pip install '{spec.install or absent[0]}'"


def _absent(module: str) -> bool:
    try:
        return find_spec(module) is None
    except (ImportError, ValueError):
        return True


def _reason(error: BaseException) -> str:
    """An error on one line, whatever it is."""
    try:
        text = " ".join(str(error).split())[:_LONGEST]
    except Exception as worse:  # noqa: BLE001  # a plugin's own class of errors
        text = f"its text raises {type(worse).__name__}"
    if isinstance(error, PluginError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _checked(spec: object, plugin: Plugin) -> BackendSpec:
    """Exactly a BackendSpec: a subclass would run a plugin's code wherever a field is read."""
    if type(spec) is not BackendSpec:
        raise PluginError(f"forge_backends returned a {type(spec).__name__}, not a BackendSpec")
    if spec.api[0] != API_VERSION[0] or spec.api > API_VERSION:
        theirs, ours = (".".join(map(str, version)) for version in (spec.api, API_VERSION))
        old = plugin.distribution if spec.api < API_VERSION else "forge-llm"
        raise PluginError(
            f"backend {spec.name} is written for API {theirs}, this forge has {ours}: upgrade {old}"
        )
    return spec
