"""What a self-test found, to read and to send."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forge._version import __version__
from forge.errors import OutputError
from forge.health import Check, Device
from forge.selftest.answers import Answer
from forge.selftest.soak import Soak


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. No text of the person's is in it, and of paths only a model's file name.

    `stopped` says why there is no more, where something kept the test from its end.
    """

    backend: str
    device: Device | None
    answers: tuple[Answer, ...]
    soak: Soak | None = None
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    stopped: str = ""
    forge: str = __version__
    machine: dict[str, str] = field(default_factory=_machine)

    @property
    def ok(self) -> bool:
        """Whether everything was asked, and right."""
        right = bool(self.answers) and all(answer.ok for answer in self.answers)
        return right and not self.stopped and (self.soak is None or self.soak.ok)

    def as_json(self) -> dict[str, Any]:
        """As it is written to a file."""
        found = {"ok": self.ok, **asdict(self)}
        if self.soak is not None:
            found["soak"] = {"ok": self.soak.ok, **asdict(self.soak)}
        shown: dict[str, Any] = _without_home(found)
        return shown

    def lines(self) -> Iterator[str]:
        """For people: the device, each model of known answers, the soak, the verdict."""
        where = f"{self.device.name} ({self.device.driver})" if self.device else "no device"
        yield f"{self.backend} on {where.replace(' ()', '')}"
        for check in self.checks:
            if not check.ok:
                yield f"  -- {check.name}: {check.detail}"
        for answer in self.answers:
            if answer.ok:
                told = f"{len(answer.cases)} known answers, worst error {answer.error:.1g}"
            else:
                told = answer.detail
            yield f"  {'ok' if answer.ok else '--'} {answer.name}: {told} ({answer.seconds:.1f} s)"
        if self.soak is not None:
            yield from self._soaked(self.soak)
        if self.stopped:
            yield f"  -- stopped: {self.stopped}"
        yield f"{'passed' if self.ok else 'FAILED'} after {self.seconds:.0f} s"

    def _soaked(self, soak: Soak) -> Iterator[str]:
        yield (
            f"  {'ok' if soak.ok else '--'} soak with {soak.model}: {soak.replies} replies, "
            f"{soak.tokens} tokens in {soak.seconds:.0f} s, decode {soak.decode_tok_s:g} tok/s "
            f"(slowest reply {soak.slowest_tok_s:g})"
        )
        if soak.differing:
            yield f"  -- {soak.differing} replies differ from the first one of their prompt"
        if soak.perplexity and soak.floor_perplexity:
            mark = "ok" if soak.agrees else "--"
            yield (
                f"  {mark} perplexity of a short text: {soak.perplexity:.4f}, "
                f"{soak.floor_perplexity:.4f} on the CPU"
            )
        if soak.detail:
            yield f"  -- {soak.detail}"


def write(report: Report, path: Path, *, force: bool = False) -> None:
    """Put it there, whole or not at all; OutputError where that cannot be.

    A file that is there already stays, unless `force` says otherwise.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        if path.exists() and not force:
            raise OutputError(f"{path} is there already: --force writes over it")
        draft.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written ({error.strerror})") from None


def _without_home(value: Any) -> Any:
    if isinstance(value, str):
        home = os.path.expanduser("~")
        return value.replace(home, "~") if len(home) > 1 else value
    if isinstance(value, dict):
        return {name: _without_home(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_home(part) for part in value]
    return value
