"""Discovery: entry points in the group `forge` become plugins; a broken one is only listed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pluggy

from forge import hookspecs
from forge.errors import PluginError, UsageError
from forge.spec import API_VERSION, BackendSpec, DriverFault

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

GROUP = "forge"
_OURS = "forge-llm"


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
        self.plugins: list[Plugin] = []
        for entry in _entries():
            plugin = Plugin(entry.name, _owner(entry), entry.dist.version if entry.dist else "?")
            self.plugins.append(plugin)
            try:
                self._register(entry, plugin)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a plugin's import raises
                plugin.problem = _reason(error)
                if self._manager.has_plugin(plugin.key):
                    self._manager.unregister(name=plugin.key)
        self._refuse_doubles()

    def _register(self, entry: EntryPoint, plugin: Plugin) -> None:
        module = entry.load()
        self._manager.register(module, plugin.key)
        self._manager.check_pending()
        found: list[BackendSpec] = []
        for function in self._implementations("forge_backends", plugin):
            offered = function()
            if not isinstance(offered, list | tuple):
                raise PluginError(f"forge_backends returned {type(offered).__name__}, not a list")
            found += [_checked(spec) for spec in offered]
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
        broken = "".join(f"\nplugin {p.name} is broken: {p.problem}" for p in self.broken())
        raise UsageError(f"there is no backend {name!r}; there are: {known}{broken}")

    def faults(self, backend: str) -> list[DriverFault]:
        """The ways that are declared to make a backend's driver fail; PluginError for nonsense."""
        found: list[DriverFault] = []
        for plugin in self.plugins:
            if not plugin.problem:
                for function in self._implementations("forge_faults", plugin):
                    offered = function()
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
                    function(subparsers)
                except (Exception, SystemExit) as error:  # noqa: BLE001  # listed, not fatal
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


def _entries() -> list[EntryPoint]:
    """Ours first: nobody takes a built-in backend's name."""
    chosen = os.environ.get("FORGE_PLUGINS")
    wanted = None if chosen is None else {name.strip() for name in chosen.split(",")}
    found = sorted(
        entry_points(group=GROUP), key=lambda entry: (_owner(entry) != _OURS, entry.name)
    )
    return [entry for entry in found if wanted is None or entry.name in wanted]


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "?"


def _reason(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"


def _checked(spec: object) -> BackendSpec:
    if not isinstance(spec, BackendSpec):
        raise PluginError(f"forge_backends returned a {type(spec).__name__}, not a BackendSpec")
    major, minor = spec.api
    if major != API_VERSION[0] or minor > API_VERSION[1]:
        ours = ".".join(map(str, API_VERSION))
        raise PluginError(f"{spec.name} is written for API {major}.{minor}, this forge has {ours}")
    return spec
