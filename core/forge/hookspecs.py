"""The hooks that a forge plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction

    from forge.spec import BackendSpec, DriverFault

hookspec = HookspecMarker("forge")
hookimpl = HookimplMarker("forge")


@hookspec
def forge_backends() -> list[BackendSpec]:  # type: ignore[empty-body]  # a hookspec has no body
    """Return the backends that this plugin offers. Import no driver here."""


@hookspec
def forge_commands(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Add verbs to `forge`: parsers with `set_defaults(run=f)`, where f(args) -> exit code."""


@hookspec
def forge_faults() -> list[DriverFault]:  # type: ignore[empty-body]  # a hookspec has no body
    """Return ways to make this plugin's drivers fail, for the conformance suite; import none."""
