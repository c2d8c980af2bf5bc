"""A backend's place in the order that they are tried in."""

from __future__ import annotations

from dataclasses import dataclass

from forge.spec import BackendSpec


@dataclass(frozen=True, slots=True)
class Place:
    """A backend in the order, and why it has this place.

    objection: why it is passed over for the time being; "" for one that is tried. risky: even to
    open it is advised against. nothing: there is no device for it here, and nobody who does not ask
    need be told.
    """

    spec: BackendSpec
    reason: str
    objection: str = ""
    risky: bool = False
    nothing: bool = False
