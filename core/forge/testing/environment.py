"""Environments for processes of forge's: with a plugin that is not installed, without a module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from forge.spec import BackendSpec, DriverFault

_AT_START = Path(__file__).parent / "at_start"
_ENTRY = "forge_suite"


def first_on_path(folder: Path, env: Mapping[str, str] = os.environ) -> str:
    """A PYTHONPATH: the folder, then what `env` has."""
    return os.pathsep.join([str(folder), *filter(None, [env.get("PYTHONPATH")])])


def without(modules: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, str]:
    """What makes these modules impossible to import; `env` may have a PYTHONPATH of its own."""
    path = first_on_path(_AT_START, {**os.environ, **(env or {})})
    return {"PYTHONPATH": path, "FORGE_WITHOUT": ",".join(modules)}


def with_plugin(
    folder: Path, backends: Sequence[BackendSpec], faults: Sequence[DriverFault] = ()
) -> dict[str, str]:
    """What makes forge find one plugin that offers these, and no other; it lies in `folder`."""
    info = folder / f"{_ENTRY}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_ENTRY}\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[forge]\n{_ENTRY} = {_ENTRY}_plugin\n")
    specs = [replace(s, env=dict(s.env), options=dict(s.options)) for s in backends]
    ways = [replace(f, env=dict(f.env), options=dict(f.options)) for f in faults]
    (folder / f"{_ENTRY}_plugin.py").write_text(
        '"""Offers what a test wants to be found."""\n'
        "from forge.hookspecs import hookimpl\n"
        "from forge.spec import BackendSpec, DriverFault\n\n\n"
        f"@hookimpl\ndef forge_backends():\n    return {specs!r}\n\n\n"
        f"@hookimpl\ndef forge_faults():\n    return {ways!r}\n",
        encoding="utf-8",
    )
    return {"PYTHONPATH": first_on_path(folder), "FORGE_PLUGINS": _ENTRY}
