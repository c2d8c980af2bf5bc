"""Writes docs/contract.md from the code: every hook, field, method, op, error, phase and fault.

    python scripts/contract_docs.py

What has no words of its own is an Undocumented error, so that nothing can be added in silence.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from forge import backend, budgets, errors, hookspecs, reference
from forge.graph import SIGNATURES, Op
from forge.testing import FAULTS, SUBTLE, FaultyBackend

TARGET = Path(__file__).parents[1] / "docs/contract.md"

HEAD = f"""\
# The contract

Written by `scripts/contract_docs.py` from the code's own docstrings: change those, not this file.
[backends.md](backends.md) says how to write a backend; this is what to look things up in. It is
version {".".join(map(str, backend.API_VERSION))} of the contract. A plugin imports all of it from
`forge.backend`.
"""

VALUES = (
    backend.Graph,
    backend.Node,
    backend.TensorSpec,
    backend.WeightSpec,
    backend.StateSpec,
    backend.Step,
    backend.Weight,
    backend.Memory,
    backend.Device,
    backend.Check,
    backend.Progress,
    backend.Timing,
    backend.Sampler,
)


class Undocumented(Exception):
    """Something of the contract has no words."""


class _Bare:
    """An annotation as it is written, without the quotes of a string."""

    def __init__(self, text: object) -> None:
        self.text = text

    def __repr__(self) -> str:
        return str(self.text)


def words(thing: object, name: str) -> str:
    """The docstring; a class's own, not that of its parent."""
    text = getattr(thing, "__doc__", None)
    generated = is_dataclass(thing) and str(text).startswith(f"{name}(")
    if not text or generated:
        raise Undocumented(f"{name} has no docstring")
    return inspect.cleandoc(text)


def prose(text: str, names: Iterable[str] = ()) -> Iterator[str]:
    """A docstring's lines; those that begin with "name: " become a list."""
    known = set(names)
    listing = False
    before = ""
    for line in text.splitlines():
        entry = re.match(r"(\w+(?:, \w+)*): (.*)", line)
        if entry and set(entry[1].split(", ")) <= known:
            if not listing and before:
                yield ""
            before = f"- `{entry[1]}`: {entry[2]}"
            listing = True
        elif listing and line.startswith("    "):
            before = f"  {line.strip()}"
        else:
            if listing and line:
                yield ""
            listing, before = False, line
        yield before


def described(text: str) -> set[str]:
    """The names that a docstring's lines "name: …" describe."""
    entries = re.findall(r"^(\w+(?:, \w+)*): ", text, re.MULTILINE)
    return {name for entry in entries for name in entry.split(", ")}


def signature(function: Callable[..., Any]) -> str:
    """The call as it is written in the code."""
    found = inspect.signature(function)
    kept = [
        p.replace(
            annotation=p.annotation if p.annotation is p.empty else _Bare(p.annotation),
            default=_Bare(p.default.__name__) if p.default is np.float32 else p.default,
        )
        for p in found.parameters.values()
        if p.name != "self"
    ]
    returns = found.return_annotation
    back = returns if returns is found.empty else _Bare(returns)
    return str(found.replace(parameters=kept, return_annotation=back))


def members(cls: type) -> Iterator[tuple[str, object]]:
    """A class's own public methods and properties; a constructor where an author calls it."""
    init = not is_dataclass(cls) and cls not in VALUES
    for name, member in vars(cls).items():
        called = name == "__call__" or (name == "__init__" and init)
        if (called or not name.startswith("_")) and (callable(member) or type(member) is property):
            yield name, member


def attributes(cls: type) -> Iterator[str]:
    """A class's public attributes, from its source: their words are the string after each."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for node, after in pairwise([*body, ast.Pass()]):
        if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                raise Undocumented(f"{cls.__name__}.{ast.unparse(node.target)} has no words")
            yield from (
                f"**`{ast.unparse(node)}`**",
                "",
                inspect.cleandoc(str(after.value.value)),
                "",
            )


def of_class(cls: type, level: str = "###") -> Iterator[str]:
    """A class: its words, its fields, each of its methods."""
    text = words(cls, cls.__name__)
    yield from (f"{level} {cls.__name__}", "")
    if is_dataclass(cls):
        shown = [f.name for f in fields(cls) if not f.name.startswith("_")]
        types = ", ".join(_field(f) for f in fields(cls) if f.name in shown)
        yield from (f"`{cls.__name__}({types})`", "")
        yield from prose(text, shown)
    else:
        yield from (*prose(text), "", *attributes(cls))
    yield ""
    for name, member in members(cls):
        about = words(member, f"{cls.__name__}.{name}")
        if isinstance(member, property):
            yield f"**`{name}`**{_abstract(member)}"
            names: list[str] = []
        else:
            names = list(inspect.signature(member).parameters)  # type: ignore[arg-type]
            call = cls.__name__ if name == "__init__" else "" if name == "__call__" else name
            yield f"**`{call}{signature(member)}`**{_abstract(member)}"  # type: ignore[arg-type]
        yield ""
        yield from prose(about, names)
        yield ""


def _abstract(member: object) -> str:
    return " – yours to write" if getattr(member, "__isabstractmethod__", False) else ""


def _field(field: Any) -> str:
    default = "" if field.default is MISSING else f" = {field.default!r}"
    made = " = {}" if field.default_factory is not MISSING else ""
    return f"{field.name}: {field.type}{default}{made}"


def hooks() -> Iterator[str]:
    """Every hook."""
    for name, function in vars(hookspecs).items():
        if getattr(function, "forge_spec", None) is not None:
            yield from (f"### `{name}{signature(function)}`", "")
            yield from prose(words(function, name))
            yield ""


def options(cls: type) -> Iterator[str]:
    """A dataclass of which each field must have a line of words."""
    missing = {f.name for f in fields(cls)} - described(words(cls, cls.__name__))
    if missing:
        raise Undocumented(f"{cls.__name__} says nothing of {', '.join(sorted(missing))}")
    yield from of_class(cls)


def ops() -> Iterator[str]:
    """Every op: inputs, attributes, meaning."""
    for op in Op:
        about = words(reference.KERNELS[op], f"op {op}")
        rule = SIGNATURES[op]
        least = len(rule.inputs) - rule.optional
        inputs = [f"`{n}`" if i < least else f"`{n}` (optional)" for i, n in enumerate(rule.inputs)]
        attrs = [f"`{n}`: {kind.__name__}" for n, kind in rule.required.items()]
        attrs += [f"`{name}` = {value!r}" for name, value in rule.defaults.items()]
        yield from (f"### {op}", "", f"Inputs: {', '.join(inputs)}.", "")
        if attrs:
            yield from (f"Attributes: {', '.join(attrs)}.", "")
        yield from prose(about)
        yield ""


def error_classes(classes: Iterable[type[BaseException]]) -> Iterator[str]:
    """Every error, those of backends first."""
    yield from ("| class | is a | meaning |", "|---|---|---|")
    for cls in sorted(classes, key=lambda c: not issubclass(c, errors.BackendError)):
        about = " ".join(words(cls, cls.__name__).split())
        yield f"| `{cls.__name__}` | {cls.__bases__[0].__name__} | {about} |"
    yield ""


def phases() -> Iterator[str]:
    """Every phase with its budget; the words are the comments in the source."""
    source = inspect.getsource(budgets)
    comments = dict(re.findall(r'^    "(\w+)": [\d.]+,  # (.+)$', source, re.MULTILINE))
    yield from ("| phase | one piece of work | seconds | the first piece |", "|---|---|---|---|")
    for name, seconds in budgets.SECONDS.items():
        if name not in comments:
            raise Undocumented(f"phase {name} has no comment")
        yield f"| {name} | {comments[name]} | {seconds:g} | {seconds * budgets.FIRST_USE:g} |"
    yield ""


def faults(text: str, kinds: Iterable[str] = (*FAULTS, *SUBTLE)) -> Iterator[str]:
    """Every fault that can be scripted, from the docstring that lists them."""
    entries = dict(re.findall(r"^([a-z-]+) +(\S.*)$", text, re.MULTILINE))
    yield from ("| fault | what happens |", "|---|---|")
    for kind in kinds:
        if kind not in entries:
            raise Undocumented(f"fault {kind} has no line")
        yield f"| {kind} | {entries[kind]} |"
    yield ""


def contract() -> str:
    """The whole document."""
    tree = (e for e in vars(errors).values() if isinstance(e, type))
    lines = [HEAD, "## Hooks", "", *hooks()]
    lines += ["## What a plugin registers, and what its backend is opened with", ""]
    lines += [*options(backend.BackendSpec), *options(backend.BackendConfig)]
    lines += options(backend.DriverFault)
    lines += ["## What you write", "", *of_class(backend.Backend), *of_class(backend.Executable)]
    lines += ["## What you are given, and give back", ""]
    lines += [line for cls in VALUES for line in of_class(cls)]
    for function in (backend.attributes, backend.row_indices, backend.steps):
        name = function.__name__
        lines += [f"### `{name}{signature(function)}`", "", words(function, name), ""]
    about = " ".join(words(reference, "forge.reference").split("\n\n")[1].split())
    lines += ["## Ops", "", f"As `forge.reference` has them. {about}", "", *ops()]
    lines += ["## Errors", "", *error_classes(tree)]
    lines += ["## Phases and their budgets", "", *phases()]
    lines += ["## Faults that `forge.testing.faulty` scripts", ""]
    lines += faults(words(sys.modules[FaultyBackend.__module__], "forge.testing.faulty"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(contract(), encoding="utf-8")
