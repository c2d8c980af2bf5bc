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
from forge.errors import UsageError
from forge.spec import API_VERSION, BackendSpec

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

GROUP = "forge"


@dataclass(slots=True)
class Plugin:
    """One entry point: who ships it, what it offers, and why it is broken if it is."""

    name: str
    distribution: str
    version: str
    backends: tuple[BackendSpec, ...] = ()
    problem: str = ""


class Plugins:
    """All plugins that are installed, or those that FORGE_PLUGINS=a,b names."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        for entry in _entries():
            distribution = entry.dist
            plugin = Plugin(
                entry.name,
                distribution.name if distribution else "?",
                distribution.version if distribution else "?",
            )
            self.plugins.append(plugin)
            try:
                self._register(entry, plugin)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a plugin's import raises
                plugin.problem = f"{type(error).__name__}: {error}"
                if self._manager.has_plugin(plugin.name):
                    self._manager.unregister(name=plugin.name)
        self._refuse_doubles()

    def _register(self, entry: EntryPoint, plugin: Plugin) -> None:
        module = entry.load()
        self._manager.register(module, plugin.name)
        self._manager.check_pending()
        found: list[BackendSpec] = []
        for function in self._implementations("forge_backends", plugin.name):
            offered = function()
            if not isinstance(offered, list | tuple):
                raise TypeError(f"forge_backends returned {type(offered).__name__}, not a list")
            found += [_checked(spec) for spec in offered]
        plugin.backends = tuple(found)

    def _implementations(self, hook: str, plugin: str) -> Iterator[Callable[..., object]]:
        caller = getattr(self._manager.hook, hook)
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name == plugin:
                yield implementation.function

    def _refuse_doubles(self) -> None:
        owner: dict[str, str] = {}
        for plugin in self.plugins:
            for spec in plugin.backends:
                first = owner.setdefault(spec.name, plugin.name)
                if first != plugin.name:
                    plugin.problem = f"the backend {spec.name} is plugin {first}'s already"
                    plugin.backends = ()
                    break

    def backends(self) -> list[BackendSpec]:
        """Every backend that is offered, the first to try first."""
        found = [spec for plugin in self.plugins for spec in plugin.backends]
        return sorted(found, key=lambda spec: (-spec.priority, spec.name))

    def backend(self, name: str) -> BackendSpec:
        """The backend of that name, or UsageError listing those there are."""
        for spec in self.backends():
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.backends()) or "none"
        broken = "".join(f"\nplugin {p.name} is broken: {p.problem}" for p in self.broken())
        raise UsageError(f"there is no backend {name!r}; there are: {known}{broken}")

    def broken(self) -> list[Plugin]:
        """The plugins that cannot be used."""
        return [plugin for plugin in self.plugins if plugin.problem]

    def add_commands(self, subparsers: _SubParsersAction[ArgumentParser]) -> None:
        """Let every sound plugin add its verbs."""
        for plugin in self.plugins:
            for function in self._implementations("forge_commands", plugin.name):
                if plugin.problem:
                    continue
                try:
                    function(subparsers)
                except Exception as error:  # noqa: BLE001  # a plugin's bug is listed, not fatal
                    plugin.problem = f"forge_commands: {type(error).__name__}: {error}"


def missing(spec: BackendSpec) -> str:
    """What has to be installed for a backend, as a command; "" when nothing is missing."""
    absent = [name for name in spec.requires if _absent(name)]
    if not absent:
        return ""
    advice = f"pip install 'forge-llm[{spec.extra}]'" if spec.extra else f"pip install {absent[0]}"
    return f"{', '.join(absent)} is not installed: {advice}"


def _absent(module: str) -> bool:
    try:
        return find_spec(module) is None
    except (ImportError, ValueError):
        return True


def _entries() -> list[EntryPoint]:
    chosen = os.environ.get("FORGE_PLUGINS")
    wanted = None if chosen is None else {name.strip() for name in chosen.split(",")}
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return [entry for entry in found if wanted is None or entry.name in wanted]


def _checked(spec: object) -> BackendSpec:
    if not isinstance(spec, BackendSpec):
        raise TypeError(f"forge_backends returned a {type(spec).__name__}, not a BackendSpec")
    for field in ("name", "factory"):
        if not isinstance(getattr(spec, field), str) or not getattr(spec, field):
            raise TypeError(f"a BackendSpec needs a {field} of type str")
    major, minor = spec.api
    if major != API_VERSION[0] or minor > API_VERSION[1]:
        ours = ".".join(map(str, API_VERSION))
        raise TypeError(f"{spec.name} is written for API {major}.{minor}, this forge has {ours}")
    return spec
