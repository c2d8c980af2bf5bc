"""Split sets: `NAME-00001-of-00003.gguf` and the `split.*` keys that must agree with it."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from forge.errors import GGUFError, ModelNotFound
from forge.gguf.errors import show, show_path
from forge.gguf.part import Part, read_part

_NAME = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)
_NAMED = 3  # missing parts that a message names
_SAME = ("general.architecture", "general.name", "general.uuid")


@dataclass(frozen=True, slots=True)
class SplitName:
    """What a file's name says about its place in a set; `number` counts from 1."""

    folder: Path
    stem: str
    number: int
    count: int

    @classmethod
    def parse(cls, path: Path) -> SplitName | None:
        """The parts of a name such as `NAME-00001-of-00003.gguf`, None for any other."""
        if (found := _NAME.fullmatch(path.name)) is None:
            return None
        number, count = int(found["number"]), int(found["count"])
        return cls(path.parent, found["stem"], number, count) if 1 <= number <= count else None

    def path(self, number: int) -> Path:
        """The path of part `number` of the same set."""
        return self.folder / f"{self.stem}-{number:05d}-of-{self.count:05d}.gguf"


def read_set(path: Path) -> list[Part]:
    """All parts of the set that `path` belongs to, in order; a whole model is a set of one."""
    name = SplitName.parse(path)
    with ExitStack() as opened:
        given = read_part(path, name.number - 1 if name else 0)
        opened.callback(given.source.close)
        if name is None or name.count == 1:
            _check_whole(given)
            parts = [given]
        else:
            _check_member(given, name.number, name.count)
            _check_missing(name)
            parts = []
            for number in range(1, name.count + 1):
                part = given
                if number != name.number:
                    part = read_part(name.path(number), number - 1)
                    opened.callback(part.source.close)
                    _check_member(part, number, name.count)
                parts.append(part)
            _check_together(parts)
        opened.pop_all()
        return parts


def _check_whole(part: Part) -> None:
    count = part.metadata.get_typed("split.count", int) or 0
    if count > 1:
        what = (
            f"says {count} parts, but the file is not named NAME-00001-of-{count:05d}.gguf, so the "
            "others cannot be found; give it its name back"
        )
        raise part.metadata.fail("split.count", what)


def _check_missing(name: SplitName) -> None:
    paths = [name.path(number) for number in range(1, name.count + 1)]
    missing = [show(path.name) for path in paths if not os.path.exists(path)]
    if missing:
        names = ", ".join(missing[:_NAMED])
        if len(missing) > _NAMED:
            names += f" and {len(missing) - _NAMED} more"
        raise ModelNotFound(
            f"{show_path(name.path(name.number))}: {len(missing)} of the {name.count} parts of "
            f"this model are missing beside it: {names}"
        )


def _check_member(part: Part, number: int, count: int) -> None:
    """The keys of a part say what its name says."""
    metadata, path = part.metadata, show_path(part.path)
    for key, expected in (("split.count", count), ("split.no", number - 1)):
        says = metadata.get_typed(key, int)
        if says is None:
            raise GGUFError(
                f"{path}: the key {key} is missing: not a part of the set it is named after"
            )
        if says != expected:
            what = f"says {says}, its name says {expected}: renamed, or a part of another set"
            raise metadata.fail(key, what)


def _check_together(parts: list[Part]) -> None:
    """The parts are of one set: same totals, same model, no tensor twice."""
    first = parts[0]
    total = sum(len(part.tensors) for part in parts)
    seen: dict[str, Part] = {}
    for part in parts:
        for key in _SAME:
            ours, theirs = (p.metadata.get_typed(key, str) for p in (part, first))
            if None not in (ours, theirs) and ours != theirs:
                other = show(first.path.name)
                what = f"differs from that of {other}: parts of two models are mixed"
                raise part.metadata.fail(key, what)
        for tensor in part.tensors:
            if tensor in seen:
                other = show(seen[tensor].path.name)
                raise GGUFError(
                    f"{show_path(part.path)}: tensor {show(tensor)} is in {other} as well: "
                    "parts of two models are mixed"
                )
            seen[tensor] = part
    for part in parts:
        says = part.metadata.get_typed("split.tensors.count", int)
        if says is not None and says != total:
            what = f"says {says}, the {len(parts)} parts hold {total}: parts of two sets are mixed"
            raise part.metadata.fail("split.tensors.count", what)
