"""What a memory is about: a backend on a device, and everything that may make it untrue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DIGESTS = ("firmware", "vulkan", "model", "settings")
"""Parts that are digests: people learn that they changed, not what they are."""


@dataclass(frozen=True, slots=True)
class Key:
    """A backend on a device, in the circumstances that `parts` name.

    device: the device's id; "" is any device, in what is remembered.
    parts: those of `environment()`, "driver" once the device is open, "model" (a `model_digest`)
        where a model matters. A part that is "" or missing is unknown.
    """

    backend: str
    device: str = ""
    parts: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def about(self, present: Key) -> bool:
        """Whether this remembered key is about the backend and device of a present one."""
        return self.backend == present.backend and self.device in ("", present.device)

    def holds(self, present: Key) -> bool:
        """Whether what was remembered under this key is still true of a present one."""
        return self.about(present) and not differing(self.parts, present.parts)

    def changed(self, present: Key) -> list[str]:
        """What differs, for people: "kernel 6.17.9 -> 6.18.3"."""
        return describe(self.parts, present.parts)


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The parts known on both sides that are not the same."""
    known = (name for name, value in before.items() if value and now.get(name))
    return [name for name in known if before[name] != now[name]]


def describe(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Each differing part in words."""
    return [
        f"another {name}" if name in DIGESTS else f"{name} {before[name]} -> {now[name]}"
        for name in differing(before, now)
    ]
