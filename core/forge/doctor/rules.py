"""The rules, signatures and rejected claims of rules.toml, checked as they are read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from forge.doctor import conditions
from forge.doctor.conditions import BadCondition, Test
from forge.errors import ForgeError

Severity: TypeAlias = Literal["error", "warning", "info"]
_SEVERITIES = ("error", "warning", "info")
_STREAMS = ("kernel", "stderr")
_UNBOUNDED = re.compile(r"(?<!\\)(?:\\\\)*[*+]|\{\d*,\}")


class RuleError(ForgeError):
    """rules.toml breaks its own rules; the message names the entry and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A line that drivers write when something is wrong.

    stream: "kernel" for the kernel's log, "stderr" for what a worker printed.
    action: what to do, a key of Knowledge.actions.
    """

    id: str
    stream: str
    pattern: re.Pattern[str]
    means: str
    action: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition of a machine that is known to hang, crash or hide a GPU.

    when: all must hold. confirm: one of them must hold as well, or the finding is a possibility.
    blocks, demotes: driver stacks ("rocm", "vulkan") not to use, or to use last.
    invariant: what forge's own backends do about it.
    """

    id: str
    severity: Severity
    symptom: str
    cause: str
    remedy: tuple[str, ...]
    confidence: str
    sources: tuple[str, ...]
    when: tuple[Test, ...]
    confirm: tuple[Test, ...] = ()
    blocks: tuple[str, ...] = ()
    demotes: tuple[str, ...] = ()
    not_a_remedy: tuple[str, ...] = ()
    fixed_in: str = ""
    note: str = ""
    invariant: str = ""

    @property
    def per_gpu(self) -> bool:
        """Whether it is about one GPU rather than about the machine."""
        return any(test.meaning.of != "machine" for test in self.when)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A remedy that goes round and that there is no support for."""

    id: str
    keywords: tuple[str, ...]
    claim: str
    reason: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All of rules.toml. stacks: which driver stack a backend of that name uses."""

    compiled: str
    rules: tuple[Rule, ...]
    signatures: tuple[Signature, ...]
    rejected: tuple[Rejected, ...]
    actions: Mapping[str, str]
    confidence: Mapping[str, str]
    stacks: Mapping[str, str]

    def rule(self, name: str) -> Rule | None:
        """The rule of that id."""
        return next((rule for rule in self.rules if rule.id == name), None)


@cache
def knowledge() -> Knowledge:
    """The knowledge in the package, read once."""
    return parse(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Knowledge:
    """Read and check; RuleError names the entry that is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"rules.toml: {error}") from None
    known = {
        "schema",
        "compiled",
        "confidence",
        "stacks",
        "action",
        "signature",
        "rule",
        "rejected",
    }
    _refuse_unknown("rules.toml", tables, known)
    if tables.get("schema") != 1:
        raise RuleError(f"rules.toml: schema {tables.get('schema')!r} is not 1")
    actions, confidence = (_of_texts(tables, name) for name in ("action", "confidence"))
    signatures = tuple(
        _signature(name, table, actions) for name, table in tables.get("signature", {}).items()
    )
    found = Knowledge(
        str(tables.get("compiled", "")),
        tuple(_rule(table, signatures, confidence) for table in tables.get("rule", [])),
        signatures,
        tuple(_rejected(table) for table in tables.get("rejected", [])),
        actions,
        confidence,
        _of_texts(tables, "stacks"),
    )
    ids = [rule.id for rule in found.rules] + [claim.id for claim in found.rejected]
    ids += [signature.id for signature in signatures]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise RuleError(f"rules.toml: twice: {', '.join(sorted(twice))}")
    return found


def _of_texts(tables: Mapping[str, Any], name: str) -> dict[str, str]:
    table = tables.get(name, {})
    return {key: _text(name, table, key) for key in table}


def _signature(name: str, table: Mapping[str, Any], actions: Mapping[str, str]) -> Signature:
    where = f"signature {name}"
    _refuse_unknown(where, table, {"stream", "regex", "means", "action"})
    stream, regex, means, action = (
        _text(where, table, key) for key in ("stream", "regex", "means", "action")
    )
    if stream not in _STREAMS:
        raise RuleError(f"{where}: stream {stream!r} is not one of {', '.join(_STREAMS)}")
    if action not in actions:
        raise RuleError(f"{where}: action {action!r} is not one of {', '.join(actions)}")
    if _UNBOUNDED.search(regex):
        raise RuleError(f"{where}: its regex repeats without a bound, which a long line abuses")
    try:
        return Signature(name, stream, re.compile(regex, re.ASCII), means, action)
    except re.error as error:
        raise RuleError(f"{where}: its regex: {error}") from None


_TEXTS = ("id", "severity", "symptom", "cause", "confidence")
_LISTS = ("remedy", "sources")
_MORE_LISTS = ("blocks", "demotes", "not_a_remedy")
_MORE_TEXTS = ("fixed_in", "note", "invariant")


def _rule(
    table: Mapping[str, Any], signatures: tuple[Signature, ...], confidence: Mapping[str, str]
) -> Rule:
    where = f"rule {table.get('id', 'without an id')!s}"
    _refuse_unknown(where, table, {*_TEXTS, *_LISTS, *_MORE_LISTS, *_MORE_TEXTS, "when", "confirm"})
    values: dict[str, Any] = {key: _text(where, table, key) for key in _TEXTS}
    values |= {key: _list(where, table, key) for key in _LISTS}
    values |= {key: _list(where, table, key) for key in _MORE_LISTS if key in table}
    values |= {key: _text(where, table, key) for key in _MORE_TEXTS if key in table}
    if values["severity"] not in _SEVERITIES:
        raise RuleError(f"{where}: severity is not one of {', '.join(_SEVERITIES)}")
    if values["confidence"] not in confidence:
        raise RuleError(f"{where}: confidence is not one of {', '.join(confidence)}")
    for key in ("blocks", "demotes"):
        if unknown := set(values.get(key, ())) - {"rocm", "vulkan"}:
            raise RuleError(f"{where}: {key} {', '.join(unknown)}, which is no driver stack")
    for key in ("when", "confirm") if "confirm" in table else ("when",):
        values[key] = _tests(where, table.get(key), signatures)
    return Rule(**values)


def _tests(where: str, when: object, signatures: tuple[Signature, ...]) -> tuple[Test, ...]:
    if not isinstance(when, dict) or not when:
        raise RuleError(f"{where}: it has no conditions")
    try:
        tests = [test for fact, wanted in when.items() for test in conditions.parse(fact, wanted)]
    except BadCondition as error:
        raise RuleError(f"{where}: {error}") from None
    for fact, stream in (("log", "kernel"), ("stderr", "stderr")):
        named = when.get(fact, [])
        known = {signature.id for signature in signatures if signature.stream == stream}
        if unknown := set([named] if isinstance(named, str) else named) - known:
            raise RuleError(f"{where}: there is no {stream} signature {', '.join(sorted(unknown))}")
    return tuple(tests)


def _rejected(table: Mapping[str, Any]) -> Rejected:
    where = f"rejected {table.get('id', 'without an id')!s}"
    _refuse_unknown(where, table, {"id", "keywords", "claim", "reason", "sources"})
    name, claim, reason = (_text(where, table, key) for key in ("id", "claim", "reason"))
    keywords, sources = (_list(where, table, key) for key in ("keywords", "sources"))
    return Rejected(name, keywords, claim, reason, sources)


def _refuse_unknown(where: str, table: object, known: set[str]) -> None:
    if not isinstance(table, dict):
        raise RuleError(f"{where}: it is no table")
    if unknown := table.keys() - known:
        raise RuleError(f"{where}: unknown: {', '.join(sorted(unknown))}")


def _text(where: str, table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RuleError(f"{where}: {key} is missing")
    return value


def _list(where: str, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
        raise RuleError(f"{where}: {key} is missing")
    return tuple(cast("list[str]", value))
