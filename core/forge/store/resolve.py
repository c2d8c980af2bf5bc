"""From what a person types to a GGUF file on this disk.

A name is, in this order: a file's path, `hf:user/repo[:QUANT]`, a short name of ours, or the name
of a model that some program on this machine has already fetched.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from forge.errors import ModelNotFound, StoreError, UsageError
from forge.store import hub, wheel
from forge.store.caches import REPO, installed
from forge.store.split import parts
from forge.store.text import printable
from forge.store.types import InstalledModel, Report, silent
from forge.store.wheel import DEFAULT_MODEL, WHEEL_MODELS, WheelModel

_HELP = "a GGUF file, hf:user/repo[:QUANT], or a name that `forge models` lists"


def resolve(name: str | None, *, progress: Report | None = None, offline: bool = False) -> Path:
    """The GGUF that a name means (a split set's first part); None means the default model.

    What is not here is downloaded, unless `offline`. Raises ModelNotFound, UsageError, StoreError.
    """
    report = progress or silent
    if name is None:
        return _wheel(DEFAULT_MODEL, report, offline=offline)
    if (path := _as_path(name)) is not None:
        return path
    if name.startswith("hf:"):
        return hub.find(hub.parse(name), report, offline=offline)
    for model in WHEEL_MODELS:
        if name.lower() in (model.name, *model.aliases):
            return _wheel(model, report, offline=offline)
    return _installed(name)


def pull(name: str, *, progress: Report | None = None) -> Path:
    """Fetch a model, or its newest revision, and return its path."""
    if name.startswith("hf:") and _as_path(name) is None:
        return hub.fetch(hub.parse(name), progress or silent)
    return resolve(name, progress=progress)


def _wheel(model: WheelModel, report: Report, *, offline: bool) -> Path:
    if not offline:
        return wheel.fetch(model, report)
    if path := wheel.cached(model):
        return path
    raise StoreError(
        f"{model.name} is not on this machine, and forge is told to stay offline\n"
        f"fetch it while connected: forge pull {model.name}"
    )


def _as_path(name: str) -> Path | None:
    """The file that a name is the path of; None if it may be another kind of name."""
    if not name or "\0" in name:
        raise UsageError(f"a model's name cannot be {name!r}: give {_HELP}")
    path = Path(name).expanduser()
    try:
        if path.is_file():
            return _first_part(path)
    except OSError:  # longer than any path, or a folder on the way that may not be read
        return None
    return None


def _first_part(path: Path) -> Path:
    """The first part of the split set that a file belongs to, or the file itself."""
    whole = [path.with_name(part) for part in parts(path.name)]
    if missing := [part.name for part in whole if not part.is_file()]:
        raise ModelNotFound(
            f"{printable(path)} is one part of {len(whole)}; missing: "
            f"{printable(', '.join(missing[:8]))}{' and more' if len(missing) > 8 else ''}\n"
            "put all parts into one folder"
        )
    return whole[0]


def _installed(name: str) -> Path:
    models = installed()
    typed = name.lower()
    matches = [model for model in models if model.name.lower() == typed]
    matches = matches or [model for model in models if typed in _aliases(model)]
    if len(matches) > 1:
        listed = "\n".join(f"  {printable(m.path)} ({m.source})" for m in matches)
        raise UsageError(f"{printable(name)} is ambiguous, give one of these paths:\n{listed}")
    if matches:
        return matches[0].path
    raise _unknown(name, models)


def _aliases(model: InstalledModel) -> tuple[str, ...]:
    """Other ways to type an installed model's name, in lower case."""
    name = model.name.lower()
    if model.source == "ollama":
        return (name.removesuffix(":latest"),)
    stem = model.path.stem.lower()
    return (name.removeprefix("hf:"), stem, f"{stem}.gguf")


def _unknown(name: str, models: Sequence[InstalledModel]) -> ModelNotFound:
    path = Path(name).expanduser()
    if os.path.isdir(path):
        return ModelNotFound(
            f"{printable(name)} is a folder, not a model: give the GGUF file in it"
        )
    if "://" in name:
        return ModelNotFound(f"{printable(name)} is an address, not a model: give {_HELP}")
    if os.path.lexists(path):
        return ModelNotFound(
            f"{printable(name)} is no regular file, or a link to nothing: give {_HELP}"
        )
    if name.lower().endswith(".gguf") or name.startswith(("/", "./", "../", "~")):
        return ModelNotFound(f"{printable(name)}: no such file")
    known = {model.name.lower(): model.name for model in models}
    known |= {alias: alias for model in WHEEL_MODELS for alias in (model.name, *model.aliases)}
    near = [printable(known[hit]) for hit in difflib.get_close_matches(name.lower(), known, 3, 0.5)]
    did = f"did you mean {' or '.join(near)}? " if near else ""
    hint = f"; hf:{name} would fetch it from the Hub" if REPO.fullmatch(name) else ""
    return ModelNotFound(f"unknown model {printable(name)}{hint}\n{did}give {_HELP}")
