"""Which backends are tried, in which order, and why each has its place."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from forge.config import Config, read_config
from forge.errors import BackendUnavailable
from forge.past import Past
from forge.place import Place
from forge.plugins import Plugins, missing
from forge.spec import BackendSpec


def order(
    backend: str | BackendSpec | None,
    fallback_to: Sequence[BackendSpec] | None,
    past: Past | None = None,
) -> tuple[list[Place], dict[str, str]]:
    """The backends to try, in order, and what those that are not installed need.

    A chosen backend is followed by those after it, or by all of `fallback_to`.
    """
    plugins, config = Plugins(), read_config()
    known = plugins.backends() if fallback_to is None else list(fallback_to)
    chosen: BackendSpec | None = None
    if backend not in (None, "auto"):
        chosen = backend if isinstance(backend, BackendSpec) else plugins.backend(str(backend))
        if fallback_to is not None or chosen not in known:
            known = [chosen, *(spec for spec in known if spec.name != chosen.name)]
    absent = {spec.name: advice for spec in known if (advice := missing(spec))}
    if chosen is not None and chosen.name in absent:
        raise BackendUnavailable(f"{chosen.name}: {absent[chosen.name]}")
    here = [config.applied(spec) for spec in known if spec.name not in absent]
    places = ranked(here, config, past, chosen) if fallback_to is None else _as_given(here)
    if chosen is not None:
        rest = itertools.dropwhile(lambda place: place.spec.name != chosen.name, places)
        first = next(place for place in places if place.spec.name == chosen.name)
        after = [place for place in rest if place.spec.name != chosen.name]
        places = [Place(first.spec, "you chose it", ""), *after]
    return places, absent


def _as_given(specs: Sequence[BackendSpec]) -> list[Place]:
    return [Place(spec, "in the order that was given") for spec in specs]


def ranked(
    specs: Sequence[BackendSpec],
    config: Config,
    past: Past | None,
    chosen: BackendSpec | None = None,
) -> list[Place]:
    """By what is known of them here: the first to try first, floors at the end."""
    advice = _advice(specs) if chosen is None or not chosen.floor else {}
    found: list[tuple[tuple[object, ...], Place]] = []
    for spec in specs:
        if spec.floor:
            rank: tuple[object, ...] = (3, 0, -spec.priority, spec.name)
            found.append((rank, Place(spec, "the floor: it has no device to lose")))
            continue
        kind = past.kind(spec) if past else ""
        tried = config.of(spec).proven or bool(past and past.self_tested(spec))
        priority = spec.proven if tried and spec.proven is not None else spec.priority
        action, why = advice.get(spec.stack, ("", ""))
        place = Place(spec, _reason(spec, kind, tried, why if action == "demote" else ""))
        if action == "block":
            place = Place(spec, place.reason, why)
        elif kind == "software":
            place = Place(spec, place.reason, f"its device is none: -b {spec.name} uses it")
        integrated = kind == "integrated"
        found.append(((action == "demote", integrated, -priority, spec.name), place))
    return [place for _, place in sorted(found, key=lambda pair: pair[0])]


def _reason(spec: BackendSpec, kind: str, tried: bool, demoted: str) -> str:
    parts = [f"its priority is {spec.priority}"]
    if spec.proven is not None:
        parts = [
            f"its priority is {spec.proven}, as its self-test passed here"
            if tried
            else f"its priority is {spec.priority} until `forge selftest -b {spec.name}` has passed"
        ]
    if kind == "integrated":
        parts.append("an integrated GPU comes after a discrete one")
    if demoted:
        parts.append(f"after the others: {demoted}")
    return "; ".join(parts)


def _advice(specs: Sequence[BackendSpec]) -> Mapping[str, tuple[str, str]]:
    """By driver stack what the doctor says of it; asked only where something drives such a one."""
    if not any(spec.stack for spec in specs):
        return {}
    from forge.doctor import effects, examine

    found: dict[str, tuple[str, str]] = {}
    for effect in effects(examine().findings):
        words = f"{effect.reason} (`forge doctor --explain {effect.rule}`)"
        if effect.action == "block" or effect.stack not in found:
            found[effect.stack] = (effect.action, words)
    return found
