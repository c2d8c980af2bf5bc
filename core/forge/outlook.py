"""How a backend of an engine fares, as far as the engine knows without opening it."""

from __future__ import annotations

from forge.errors import BackendUnavailable
from forge.health import Check, Health, Status
from forge.past import Past, described
from forge.place import Place
from forge.supervisor import Supervisor


def outlook(place: Place, supervisor: Supervisor, past: Past) -> Health:
    """Whether it answers, failed, is left alone, cannot run, or was not tried yet."""
    name, ready, runner = place.spec.name, supervisor.ready, supervisor.runner
    if runner and ready and ready.backend == name:
        return Health(name, ready.device, "ready", runner.checks, runner.devices, place.reason)
    quarantine = past.quarantine(place.spec)
    if error := supervisor.failures.get(name):
        passed_over = quarantine and isinstance(error, BackendUnavailable)
        return _not_used(place, "quarantined" if passed_over else "failed", str(error))
    if quarantine:
        return _not_used(place, "quarantined", described(quarantine))
    if place.objection:
        return _not_used(place, "unavailable", place.objection)
    return Health(name, "", "untried", place=place.reason)


def _not_used(place: Place, status: Status, why: str) -> Health:
    check = Check("answers", False, why)
    return Health(place.spec.name, "", status, (check,), place=place.reason)
