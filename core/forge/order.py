"""Which backends an engine tries, and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from forge.errors import BackendUnavailable
from forge.plugins import Plugins, missing
from forge.spec import BackendSpec


def order(
    backend: str | BackendSpec | None, fallback_to: Sequence[BackendSpec] | None
) -> tuple[list[BackendSpec], dict[str, str]]:
    """The backends to try, in order, and what those that are not installed need.

    A chosen backend is followed by those after it, or by all of `fallback_to`.
    """
    plugins = Plugins()
    known = plugins.backends() if fallback_to is None else list(fallback_to)
    chosen: BackendSpec | None = None
    if backend not in (None, "auto"):
        chosen = backend if isinstance(backend, BackendSpec) else plugins.backend(str(backend))
        if fallback_to is not None or chosen not in known:
            known = [chosen, *(spec for spec in known if spec.name != chosen.name)]
    absent = {spec.name: advice for spec in known if (advice := missing(spec))}
    return placements(known, chosen, absent), absent


def placements(
    specs: Sequence[BackendSpec], chosen: BackendSpec | None, missing: Mapping[str, str]
) -> list[BackendSpec]:
    """The order to try: the chosen backend and those after it, or all that can run here."""
    if chosen is not None:
        if missing.get(chosen.name):
            raise BackendUnavailable(f"{chosen.name}: {missing[chosen.name]}")
        rest = itertools.dropwhile(lambda spec: spec.name != chosen.name, specs)
        return [chosen, *(s for s in rest if s is not chosen and not missing.get(s.name))]
    return [spec for spec in specs if not missing.get(spec.name)]
