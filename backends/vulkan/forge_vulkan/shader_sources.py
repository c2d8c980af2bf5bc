"""The shaders' sources: which variants each has, and what a variant's SPIR-V depends on.

A shader is a file NAME.comp in the folder; what it includes are *.glsl files beside it. Comment
lines that begin with `//!` say how it is compiled:

    //! TYPE: q4_0 q4_1 q8_0
    //! DOT: 0 1
    //! target: vulkan1.3

Lists multiply: this one has six variants. Each is compiled with a macro for the value and one that
is there to be asked for: -DTYPE=q4_0 -DTYPE_Q4_0=1 -DDOT=0 -DDOT_0=1. Without a target it is
vulkan1.1. Nothing of forge is imported, as this runs while the wheel is built.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_TARGET = "vulkan1.1"
TARGETS = ("vulkan1.0", "vulkan1.1", "vulkan1.2", "vulkan1.3")
"""What glslang 13 knows."""

_DIRECTIVE = re.compile(r"^[ \t]*//!(.*)$", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+["<]([^">\n]+)[">]', re.MULTILINE)
_KEY = re.compile(r"[A-Z][A-Z0-9_]*")
_VALUE = re.compile(r"[A-Za-z0-9_]+")


class SourceError(Exception):
    """A shader's `//!` lines say something that cannot be compiled."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One SPIR-V file to be: a source and the values it is compiled with, in the source's order."""

    source: Path
    target: str
    values: tuple[tuple[str, str], ...]
    digest: str = field(repr=False)
    """Of everything that the SPIR-V depends on; another digest means: compile again."""

    @property
    def name(self) -> str:
        """The file's name: `matmul.TYPE=q4_0.DOT=0.spv`, or `copy.spv` where nothing varies."""
        return ".".join(
            [self.source.stem, *(f"{key}={value}" for key, value in self.values), "spv"]
        )

    @property
    def macros(self) -> list[str]:
        """The compiler's options that say which variant it is."""
        return [
            option
            for key, value in self.values
            for option in (f"-D{key}={value}", f"-D{key}_{value.upper()}=1")
        ]


def variants(folder: Path, salt: bytes = b"") -> list[Variant]:
    """Every variant of every shader of a folder, by name; SourceError names file and line.

    salt: what else the result depends on, such as the options that the compiler is given.
    """
    found = [each for path in sorted(folder.glob("*.comp")) for each in _of(path, salt)]
    return sorted(found, key=lambda each: each.name)


def _of(path: Path, salt: bytes) -> Iterator[Variant]:
    target, lists = _directives(path)
    content = hashlib.sha256(salt)
    for each in with_includes(path):
        text = each.read_bytes() if each.is_file() else b"(not there)"
        content.update(f"{os.path.relpath(each, path.parent)} {len(text)}\n".encode() + text)
    for values in itertools.product(*lists.values()):
        pairs = tuple(zip(lists, values, strict=True))
        whole = content.copy()
        whole.update(repr((target, pairs)).encode())
        yield Variant(path, target, pairs, whole.hexdigest())


def with_includes(path: Path) -> list[Path]:
    """A source and all that it includes, through any number of files, each one once.

    Conditions of the preprocessor are not asked: what might be included counts. A name that is no
    file is in the list as well, since it may become one; whether that matters says the compiler.
    """
    found = [path]
    for each in found:  # grows as it goes
        if not each.is_file():
            continue
        for name in _INCLUDE.findall(each.read_text("utf-8", "replace")):
            beside = each.parent / name
            place = beside if beside.is_file() else path.parent / name
            if place not in found:
                found.append(place)
    return found


def _directives(path: Path) -> tuple[str, dict[str, list[str]]]:
    target = DEFAULT_TARGET
    lists: dict[str, list[str]] = {}
    text = path.read_text("utf-8", "replace")
    for line in _DIRECTIVE.finditer(text):
        where = f"{path.name}:{text.count(chr(10), 0, line.start()) + 1}"
        key, colon, rest = line[1].partition(":")
        key, values = key.strip(), rest.split()
        if key == "target":
            if values not in [[each] for each in TARGETS]:
                raise SourceError(f"{where}: target is {rest.strip()!r}, not one of {TARGETS}")
            target = values[0]
            continue
        if not colon or not _KEY.fullmatch(key) or not values:
            raise SourceError(f"{where}: {line[0].strip()!r} is not like `//! TYPE: q4_0 q8_0`")
        if key in lists:
            raise SourceError(f"{where}: {key} has a list already")
        wrong = [value for value in values if not _VALUE.fullmatch(value)]
        if wrong or len({value.upper() for value in values}) < len(values):
            raise SourceError(f"{where}: {key} needs different words of letters, digits and _")
        lists[key] = values
    return target, lists
