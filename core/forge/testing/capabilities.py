"""The table of ops and weight types: what a backend has, what is converted, what is missing."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from forge.errors import BackendUnsupported, UsageError
from forge.graph import Graph
from forge.testing.remote import RemoteBackend

if TYPE_CHECKING:
    from forge.testing.cases import OpCase

Level: TypeAlias = Literal["supported", "converted", "unsupported"]
LEVELS: tuple[Level, ...] = ("unsupported", "converted", "supported")
"""From the least to the most."""
NONE = "-"
"""The column of ops without a weight."""

Table: TypeAlias = Mapping[tuple[str, str], Level]


def level(backend: RemoteBackend, graph: Graph) -> tuple[Level, Graph]:
    """How a backend takes a graph, and the graph as it takes it."""
    if all(backend.supports(graph).values()):
        return "supported", graph
    try:
        return "converted", backend.converted(graph)[0]
    except BackendUnsupported:
        return "unsupported", graph


def measure(backend: RemoteBackend, cases: Iterable[OpCase]) -> dict[tuple[str, str], Level]:
    """The least level of any case, for every op and weight type or feature."""
    table: dict[tuple[str, str], Level] = {}
    for case in cases:
        found = level(backend, case.graph)[0]
        key = case.op.value, case.column
        table[key] = min(table.get(key, found), found, key=LEVELS.index)
    return table


def lines(table: Table) -> Iterator[str]:
    """The table as text: an op a line."""
    short = {"supported": "yes", "converted": "conv", "unsupported": "no"}
    ops = list(dict.fromkeys(op for op, _ in table))
    width = max(map(len, ops))
    for op in ops:
        by_level: dict[str, list[str]] = {}
        for (name, kind), found in table.items():
            if name == op:
                by_level.setdefault(short[found], []).append(kind)
        parts = [
            answer if kinds == [NONE] else f"{answer}: {' '.join(kinds)}"
            for answer, kinds in by_level.items()
        ]
        yield f"{op:<{width}}  {'; '.join(parts)}"


def write(table: Table, path: Path) -> None:
    """As CSV: op, weight type, level."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("op", "type", "level"))
        out.writerows((op, kind, found) for (op, kind), found in table.items())


def read(path: Path) -> dict[tuple[str, str], Level]:
    """What `write` wrote; UsageError names the line that is none of it."""
    table: dict[tuple[str, str], Level] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text in UTF-8") from None
    if not rows[1:]:
        raise UsageError(f"{path}: no table as --forge-report writes it")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 3 or row[2] not in LEVELS:
            raise UsageError(f"{path}:{number}: {','.join(row)!r} is not op,type,level")
        table[row[0], row[1]] = row[2]
    return table


def shortfalls(required: Table, found: Table) -> list[str]:
    """Where less was found than is required, in words."""
    out = []
    for key, least in required.items():
        has = found.get(key, "unsupported")
        if LEVELS.index(has) < LEVELS.index(least):
            out.append(f"{key[0]} with {key[1]}: {has}, required is {least}")
    return out
