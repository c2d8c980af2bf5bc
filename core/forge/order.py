"""Which backends are tried, in which order, and why each has its place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forge.config import Config, read_config
from forge.errors import BackendUnavailable
from forge.past import Past
from forge.place import Place
from forge.plugins import Plugins, missing
from forge.spec import BackendSpec

if TYPE_CHECKING:
    from forge.doctor import Effect
    from forge.health import Device


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
    if fallback_to is None:
        asked_floor = chosen is not None and chosen.floor
        places = ranked(here, config, past, () if asked_floor else _effects(here))
    else:
        places = [Place(spec, "in the order that was given") for spec in here]
    if chosen is not None:
        rest = itertools.dropwhile(lambda place: place.spec.name != chosen.name, places)
        first = next(place for place in places if place.spec.name == chosen.name)
        after = [place for place in rest if place.spec.name != chosen.name]
        places = [Place(first.spec, "you chose it", ""), *after]
    return places, absent


def ranked(
    specs: Sequence[BackendSpec],
    config: Config,
    past: Past | None = None,
    effects: Sequence[Effect] = (),
) -> list[Place]:
    """By what is known of them here: the first to try first, floors at the end.

    `effects` are what the doctor makes of the machine.
    """
    found: list[tuple[tuple[object, ...], Place]] = []
    for spec in specs:
        if spec.floor:
            place = Place(spec, "the floor: it has no device to lose")
            found.append(((True, False, False, -spec.priority, spec.name), place))
            continue
        device = past.device(spec) if past else None
        kind = device.kind if device else ""
        tried = config.of(spec).proven or bool(past and past.self_tested(spec))
        priority = spec.proven if tried and spec.proven is not None else spec.priority
        against = _against(spec, device, effects)
        demoted = against is not None and against.action == "demote"
        reason = _reason(spec, kind, tried=tried, demoted=_words(against) if demoted else "")
        risky = against is not None and against.action == "block"
        nothing = _nothing(spec, kind, past)
        objection = _words(against) if risky else nothing
        rank = (False, demoted, kind == "integrated", -priority, spec.name)
        found.append((rank, Place(spec, reason, objection, risky, bool(nothing) and not risky)))
    return [place for _, place in sorted(found, key=lambda pair: pair[0])]


def _nothing(spec: BackendSpec, kind: str, past: Past | None) -> str:
    """Why there is no device for a backend here, as far as is known."""
    if past is None:
        return ""
    if kind == "software" and not past.outdated(spec):
        return f"its device is software: `-b {spec.name}` uses it all the same"
    if past.absent(spec):
        return "it found no device here: `forge backends` looks again"
    return ""


def _reason(spec: BackendSpec, kind: str, *, tried: bool, demoted: str) -> str:
    if spec.proven is None:
        parts = [f"its priority is {spec.priority}"]
    elif tried:
        parts = [f"its priority is {spec.proven}, as its self-test passed here"]
    else:
        until = f"until `forge selftest -b {spec.name}` has passed here"
        parts = [f"its priority is {spec.priority} {until}, then {spec.proven}"]
    if kind == "integrated":
        parts.append("an integrated GPU comes after a discrete one")
    if demoted:
        parts.append(f"it comes after the others: {demoted}")
    return "; ".join(parts)


def _against(spec: BackendSpec, device: Device | None, effects: Sequence[Effect]) -> Effect | None:
    """What speaks most against a backend's driver stack, on its device if that is known."""
    address = device.address if device else ""
    found = [
        effect
        for effect in effects
        if effect.stack == spec.stack and (not address or effect.device in ("", address))
    ]
    return min(found, key=lambda effect: effect.action != "block", default=None)


def _words(effect: Effect | None) -> str:
    return f"{effect.reason} (`forge doctor --explain {effect.rule}`)" if effect else ""


def _effects(specs: Sequence[BackendSpec]) -> Sequence[Effect]:
    """The doctor is asked only where something drives a stack that it knows."""
    if not any(spec.stack for spec in specs):
        return ()
    from forge.doctor import start_effects

    return start_effects()
