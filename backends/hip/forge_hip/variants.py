"""The kernels' sources: what a compiler is given for a kernel and the constants it is wanted for.

A kernel is a file kernels/NAME.hip, written once for all that it may be asked for. It defines

    INLINE void run(const u4* __restrict__ w4, float* y, const Push push) { … }

whose parameters are the kernel's arguments: buffers in the order in which the steps give them, then
the struct Push with the bytes that they push. Comment lines that begin with `//!` say the rest:

    //! TYPE: q4_0 q4_1 q8_0
    //! constants: 256 32 4096 2 1
    //! budget: vgpr 96 lds 32768
    //! needs: wmma
    //! uses: dot4

A list of words is a choice that changes the code: the text begins with `#define TYPE_Q4_0 1`, and
the kernel is asked for as `NAME.TYPE=q4_0`. `constants` are what `python -m forge_hip.targets`
compiles it for, one set a line; in the source they are C0, C1, … and known when it is compiled.
C0 is the number of threads of a work group. `budget` is what it may take of a target,
`needs` what a target must have, and `uses` what must be in the code of a target that has it.

Sets of constants of one file and choice are one text, each in a namespace of its own: a model needs
few compilations. Everything is in the text, headers as well: it is all that a cache has to look at.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

KERNELS = Path(__file__).parent / "kernels"
OPTIONS = ("-O3", "-std=c++17", "-fno-strict-aliasing")
"""For the compiler, besides the target: buffers are read as words of several sizes."""
CHOSEN_BY_TARGET = frozenset({"SUBGROUPS", "DOT", "COOPMAT"})
"""Choices that the steps name and that the compiler makes here, by the target."""

_PRELUDE = "platform.h", "vectors.h"
_DIRECTIVE = re.compile(r"^[ \t]*//!(.*)$", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)"[ \t]*$')
_RUN = re.compile(r"^INLINE void run\(([^)]*)\)", re.MULTILINE)
_OWN = re.compile(r"\b(u8|u16|u32|u64|i8|i32|f2|f4|u2|u4)\b")
_KEY = re.compile(r"[A-Z][A-Z0-9_]*")
_VALUE = re.compile(r"[A-Za-z0-9_]+")


class SourceError(Exception):
    """A kernel is asked for that there is not, or a source's `//!` lines cannot be understood."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a file says of itself: its choices, and what `forge_hip.targets` compiles and checks."""

    name: str
    path: Path
    choices: Mapping[str, tuple[str, ...]]
    constants: tuple[tuple[int, ...], ...]
    budget: Mapping[str, int]
    needs: frozenset[str]
    """What a target must have for it: `wmma`."""
    uses: frozenset[str]
    """Instructions that must be in it where the target has them: `dot4`."""
    parameters: str
    """Of `run`, as they stand there."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text for the compiler, and the names of what it makes, as the sets of constants came."""

    name: str
    text: str
    entries: tuple[str, ...]


@cache
def kernels() -> Mapping[str, Kernel]:
    """Every kernel by name. Raises SourceError with file and line."""
    return MappingProxyType({path.stem: described(path) for path in sorted(KERNELS.glob("*.hip"))})


def split(kernel: str) -> tuple[Kernel, dict[str, str]]:
    """A name such as `matvec.TYPE=q4_k.DOT=1` as its file and choices.

    Choices that the target makes are left out. Raises SourceError for what there is not.
    """
    stem, *pairs = kernel.split(".")
    if stem not in kernels():
        raise SourceError(f"there is no kernel {stem}; there are {', '.join(kernels())}")
    found, asked = kernels()[stem], dict(pair.partition("=")[::2] for pair in pairs)
    chosen = {key: value for key, value in asked.items() if key not in CHOSEN_BY_TARGET}
    if list(chosen) != list(found.choices):
        raise SourceError(f"{kernel}: the choices of {stem} are {', '.join(found.choices)}")
    for key, value in chosen.items():
        if value not in found.choices[key]:
            raise SourceError(f"{kernel}: {key} is one of {', '.join(found.choices[key])}")
    return found, chosen


def units() -> Iterator[str]:
    """The names of all kernels with every combination of their choices."""
    for kernel in kernels().values():
        for values in itertools.product(*kernel.choices.values()):
            pairs = zip(kernel.choices, values, strict=True)
            yield ".".join([kernel.name, *(f"{key}={value}" for key, value in pairs)])


def entry(kernel: str, constants: Sequence[int]) -> str:
    """The name of the function in the code object: `matvec_q4_k_256_32_4096_2_1`."""
    found, chosen = split(kernel)
    return "_".join([found.name, *chosen.values(), *map(str, constants)])


def unit(kernel: str) -> str:
    """The kernel's name without what the target chooses: kernels of one unit can be one text."""
    found, chosen = split(kernel)
    return ".".join([found.name, *(f"{key}={value}" for key, value in chosen.items())])


def source(kernel: str, sets: Sequence[Sequence[int]]) -> Source:
    """The text that compiles to a kernel with each of these sets of constants."""
    found, chosen = split(kernel)
    entries = tuple(entry(kernel, constants) for constants in sets)
    lines = [f"#define {key}_{value.upper()} 1" for key, value in chosen.items()]
    lines.append("namespace forge {")
    for header in _PRELUDE:
        lines += _inlined(KERNELS / header, set())
    for name, constants in zip(entries, sets, strict=True):
        lines.append(f"namespace of_{name} {{")
        lines += [f"constexpr u32 C{i} = {value}u;" for i, value in enumerate(constants)]
        lines.append("constexpr u32 THREADS = C0;")
        lines += _inlined(found.path, set())
        lines.append("}")
    lines.append("}")
    lines += [
        _function(found, name, constants[0]) for name, constants in zip(entries, sets, strict=True)
    ]
    return Source(unit(kernel), "\n".join(lines) + "\n", entries)


def _function(kernel: Kernel, name: str, threads: int) -> str:
    parameters = _OWN.sub(r"forge::\1", kernel.parameters)
    parameters = re.sub(r"\bPush\b", f"forge::of_{name}::Push", parameters)
    given = ", ".join(each.split()[-1].lstrip("*&") for each in kernel.parameters.split(","))
    return (
        f'extern "C" __global__ void __launch_bounds__({threads}) {name}({parameters}) '
        f"{{ forge::of_{name}::run({given}); }}"
    )


def _inlined(path: Path, seen: set[Path]) -> Iterator[str]:
    """A file's lines with each header, the first time, in the place of its #include."""
    seen.add(path)
    yield f'#line 1 "{path.name}"'
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        include = _INCLUDE.match(line)
        if not include:
            yield line
            continue
        header = KERNELS / include[1]
        if header not in seen:
            if not header.is_file():
                raise SourceError(f"{path.name}:{number}: there is no {header.name}")
            yield from _inlined(header, seen)
        yield f'#line {number + 1} "{path.name}"'


def described(path: Path) -> Kernel:
    """What a file says of itself. Raises SourceError with file and line."""
    text = path.read_text("utf-8")
    run = _RUN.search(text)
    if not run:
        raise SourceError(f"{path.name}: no line begins with `INLINE void run(`")
    choices: dict[str, tuple[str, ...]] = {}
    sets: list[tuple[int, ...]] = []
    budget: dict[str, int] = {}
    features: dict[str, frozenset[str]] = {}
    for line in _DIRECTIVE.finditer(text):
        where = f"{path.name}:{text.count(chr(10), 0, line.start()) + 1}"
        key, _, rest = line[1].partition(":")
        key, words = key.strip(), rest.split()
        try:
            if key == "constants":
                sets.append(tuple(map(int, words)))
            elif key in ("needs", "uses"):
                features[key] = frozenset(words)
            elif key == "budget":
                budget.update(zip(words[::2], map(int, words[1::2]), strict=True))
            elif _KEY.fullmatch(key) and words and all(map(_VALUE.fullmatch, words)):
                choices[key] = tuple(words)
            else:
                raise ValueError(key)
        except ValueError as error:
            raise SourceError(f"{where}: {line[0].strip()!r} is not as it should be") from error
    if not sets:
        raise SourceError(f"{path.name}: no `//! constants:`, so nothing would check it")
    parameters = " ".join(run[1].split())
    return Kernel(
        path.stem,
        path,
        MappingProxyType(choices),
        tuple(sets),
        MappingProxyType(budget),
        features.get("needs", frozenset()),
        features.get("uses", frozenset()),
        parameters,
    )
