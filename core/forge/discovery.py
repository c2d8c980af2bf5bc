"""The entry points in the group `forge`, also where other distributions are damaged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

GROUP = "forge"
OURS = "forge-llm"


@dataclass(frozen=True, slots=True)
class Found:
    """One entry point, by name, and who ships it; why it cannot be read, if it cannot."""

    name: str
    distribution: str
    version: str
    entry: EntryPoint | None
    problem: str = ""


def chosen() -> tuple[str, ...] | None:
    """The names in FORGE_PLUGINS; None where it is not set, so that all are meant."""
    names = os.environ.get("FORGE_PLUGINS")
    if names is None:
        return None
    return tuple(dict.fromkeys(name for part in names.split(",") if (name := part.strip())))


def discover() -> tuple[list[Found], list[str]]:
    """What FORGE_PLUGINS leaves of the entry points, and which of its names nobody has.

    Ours come first: nobody takes a built-in backend's name.
    """
    found = _readable()
    wanted = chosen()
    if wanted is not None:
        found = [one for one in found if one.name in wanted]
    known = {one.name for one in found}
    found.sort(key=lambda one: (one.distribution != OURS, one.name, one.distribution))
    return found, [name for name in wanted or () if name not in known]


def _readable() -> list[Found]:
    try:
        return [_found(entry) for entry in entry_points(group=GROUP)]
    except Exception:  # noqa: BLE001  # one damaged distribution fails the look at all of them
        return _one_by_one()


def _one_by_one() -> list[Found]:
    found: list[Found] = []
    seen: set[str] = set()
    for distribution in distributions():
        name, version = _who(distribution)
        if name in seen and name != "?":
            continue
        seen.add(name)
        try:
            found += [_found(entry) for entry in distribution.entry_points.select(group=GROUP)]
        except Exception as error:  # noqa: BLE001  # whatever is in its entry_points.txt
            if f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
                problem = f"its entry_points.txt cannot be read: {type(error).__name__}: {error}"
                found.append(Found(name, name, version, None, problem))
    return found


def _found(entry: EntryPoint) -> Found:
    name, version = _who(entry.dist)
    return Found(entry.name, name, version, entry)


def _who(distribution: Distribution | None) -> tuple[str, str]:
    """Name and version; "?" where the metadata is missing."""
    if distribution is None:
        return "?", "?"
    try:
        metadata = distribution.metadata
        return (
            metadata["Name"] if "Name" in metadata else "?",  # noqa: SIM401  # it has no `get`
            metadata["Version"] if "Version" in metadata else "?",  # noqa: SIM401
        )
    except Exception:  # noqa: BLE001  # no METADATA at all is an error from Python 3.15 on
        return "?", "?"
