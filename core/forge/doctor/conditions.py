"""Conditions of rules, in three values: true, false, or unknown with the fact that is missing.

In a rule's `when` every key is a fact of `facts.MEANINGS` and all of them must hold. What a fact is
compared with:

    true, false      flags
    110501           a number or a text that it equals
    ">=6.17,<6.18"   versions and numbers; all parts must hold. The right side may be hexadecimal,
                     end in GiB, or be the name of another number: ">gtt_total"
    [ ... ]          any of these
    { NAME = ... }   env: true (set), false (not set), a text, or "!=text" (not set counts)
                     param: a text or "!=text"
                     rocm: for each stream a range, or true for all of its releases; a stream that
                     is not named does not match, and no release is compared with another stream's
    "name", [ ... ]  cmdline, log and stderr: it has that, or any of these
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from forge.doctor import rocm
from forge.doctor.facts import MEANINGS, Facts, Gpu, Meaning, Unknown, Value, Version, gfx
from forge.doctor.machine import parse_version

Truth: TypeAlias = bool | Unknown
_OPERATORS: Mapping[str, Callable[..., bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class BadCondition(ValueError):
    """A condition that cannot be judged; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An operator and its right side: a number, a version, a text, the name of a fact, or None.

    Equal to None is what is certainly not there.
    """

    symbol: str
    right: int | Version | str | None
    fact: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A fact, and alternatives of which one has to hold; each is bounds that all have to.

    A fact of names, such as env, has its name in it: env.HIP_VISIBLE_DEVICES.
    """

    fact: str
    any_of: tuple[tuple[Bound, ...], ...]
    stream: str = ""

    @property
    def meaning(self) -> Meaning:
        """What the fact is."""
        return MEANINGS[self.fact.partition(".")[0]]

    @property
    def facts(self) -> tuple[str, ...]:
        """The names of the facts that it is about."""
        return (self.fact,)

    def judge(self, facts: Facts, gpu: Gpu | None) -> Truth:
        """Whether it holds, on that GPU where the fact is a GPU's."""
        left = facts.value(self.fact, gpu)
        if isinstance(left, Unknown):
            return left
        if self.stream and isinstance(left, tuple) and rocm.stream(left) != self.stream:
            return False
        return either(_all(left, bounds, facts, gpu) for bounds in self.any_of)

    def __str__(self) -> str:
        """In words."""
        name = self.fact.partition(".")[2]
        alternatives = " or ".join(
            " and ".join(_in_words(bound, self.fact) for bound in bounds) for bounds in self.any_of
        )
        words = f"{self.meaning.words} {name}".strip()
        stream = f" ({self.stream})" if self.stream else ""
        return f"{words}{stream}: {alternatives}"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Conditions of which one has to hold."""

    conditions: tuple[Condition, ...]

    @property
    def meaning(self) -> Meaning:
        """What the facts are; all are of one kind."""
        return self.conditions[0].meaning

    @property
    def facts(self) -> tuple[str, ...]:
        """The names of the facts that they are about."""
        return tuple(condition.fact for condition in self.conditions)

    def judge(self, facts: Facts, gpu: Gpu | None) -> Truth:
        """Whether one of them holds."""
        return either(condition.judge(facts, gpu) for condition in self.conditions)

    def __str__(self) -> str:
        """In words."""
        return ", or ".join(map(str, self.conditions))


Test: TypeAlias = Condition | AnyOf


_ANY_RELEASE = Bound(">=", (0,))


def either(truths: Iterable[Truth]) -> Truth:
    """True if one is, else unknown if one is, else False."""
    unknown: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if isinstance(truth, Unknown):
            unknown = truth
    return unknown


def _all(left: Value, bounds: Sequence[Bound], facts: Facts, gpu: Gpu | None) -> Truth:
    unknown: Truth = True
    for bound in bounds:
        right = facts.value(str(bound.right), gpu) if bound.fact else bound.right
        if isinstance(right, Unknown):
            unknown = right
        elif not _holds(left, bound.symbol, right):
            return False
    return unknown


def _holds(left: Value, symbol: str, right: Value) -> bool:
    if isinstance(left, frozenset):
        return right in left
    if symbol in ("==", "!="):
        equal = type(left) is type(right) and _padded(left, right) == _padded(right, left)
        return equal is (symbol == "==")
    if left is None or right is None or type(left) is not type(right):
        return False
    return _OPERATORS[symbol](_padded(left, right), _padded(right, left))


def _padded(value: Value, other: Value) -> Value:
    """6.18 and 6.18.0 are the same version."""
    if isinstance(value, tuple) and isinstance(other, tuple):
        return value + (0,) * (len(other) - len(value))
    return value


def parse(fact: str, wanted: object) -> tuple[Test, ...]:
    """The conditions that a key of `when` stands for; BadCondition says what is wrong."""
    meaning = MEANINGS.get(fact)
    if meaning is None:
        raise BadCondition(f"there is no fact {fact!r}")
    if fact == "rocm":
        streams = _table(fact, wanted)
        return (AnyOf(tuple(_of_stream(name, range_) for name, range_ in streams.items())),)
    if fact in ("env", "param"):
        return tuple(_named(fact, name, value) for name, value in _table(fact, wanted).items())
    if meaning.kind == "names":  # log, stderr
        present = ((Bound("==", True),),)
        return (
            AnyOf(tuple(Condition(f"{fact}.{name}", present) for name in _texts(fact, wanted))),
        )
    alternatives = wanted if isinstance(wanted, list) else [wanted]
    if not alternatives:
        raise BadCondition(f"{fact} is compared with an empty list")
    return (Condition(fact, tuple(_bounds(fact, meaning, one) for one in alternatives)),)


def _of_stream(name: str, wanted: object) -> Condition:
    if name not in rocm.STREAMS:
        raise BadCondition(f"rocm has no stream {name!r}: {', '.join(rocm.STREAMS)}")
    bounds = (_ANY_RELEASE,) if wanted is True else _bounds("rocm", MEANINGS["rocm"], wanted)
    return Condition("rocm", (bounds,), name)


def _named(fact: str, name: str, wanted: object) -> Condition:
    if not re.fullmatch(r"\w{1,60}", name, re.ASCII):
        raise BadCondition(f"{fact} has no {name!r}")
    if wanted is True or wanted is False:
        if fact == "param":
            raise BadCondition(f"param.{name} is compared with {wanted}, not with a text")
        return Condition(f"{fact}.{name}", ((Bound("!=" if wanted else "==", None),),))
    bounds = []
    for text in _texts(f"{fact}.{name}", wanted):
        unlike = text.startswith("!=")
        bounds.append((Bound("!=" if unlike else "==", text[2 * unlike :]),))
    return Condition(f"{fact}.{name}", tuple(bounds))


def _bounds(fact: str, meaning: Meaning, wanted: object) -> tuple[Bound, ...]:
    match meaning.kind, wanted:
        case "flag", bool():
            return (Bound("==", wanted),)
        case "number", int() if not isinstance(wanted, bool):
            return (Bound("==", wanted),)
        case "number" | "version", str():
            return tuple(_bound(fact, meaning, part) for part in wanted.split(","))
        case "text" | "texts", str():
            return (Bound("==", wanted),)
    raise BadCondition(f"{fact}, which is a {meaning.kind}, is compared with {wanted!r}")


def _bound(fact: str, meaning: Meaning, part: str) -> Bound:
    found = re.fullmatch(r"(==|!=|>=|<=|>|<)([\w.]{1,40})", part.strip(), re.ASCII)
    if not found:
        raise BadCondition(f"{fact}: {part!r} is no comparison, such as >=6.18")
    symbol, right = found.groups()
    if meaning.kind == "version":
        version = parse_version(right)
        if version is None or ".".join(map(str, version)) != right:
            raise BadCondition(f"{fact}: {right!r} is no version")
        return Bound(symbol, version)
    if right in MEANINGS and MEANINGS[right].kind == "number":
        return Bound(symbol, right, fact=True)
    number = re.fullmatch(r"(0x[0-9a-fA-F]{1,16}|[0-9]{1,18})(GiB)?", right, re.ASCII)
    if not number:
        raise BadCondition(f"{fact}: {right!r} is neither a number nor a fact that is one")
    return Bound(symbol, int(number[1], 0) << (30 if number[2] else 0))


def _table(fact: str, wanted: object) -> Mapping[str, object]:
    if not isinstance(wanted, dict) or not wanted:
        raise BadCondition(f"{fact} is compared with {wanted!r}, not with a table")
    return wanted


def _texts(fact: str, wanted: object) -> list[str]:
    found = wanted if isinstance(wanted, list) else [wanted]
    if not found or not all(isinstance(text, str) and text for text in found):
        raise BadCondition(f"{fact} is compared with {wanted!r}, not with names")
    return [str(text) for text in found]


def _in_words(bound: Bound, fact: str) -> str:
    if bound == _ANY_RELEASE:
        return "any"
    right = bound.right
    text = ".".join(map(str, right)) if isinstance(right, tuple) else str(right)
    if right is None:
        return "not set" if bound.symbol == "==" else "set"
    if isinstance(right, bool):
        text = "yes" if right else "no"
    elif fact in ("isa", "override") and isinstance(right, int):
        text = gfx(right)
    elif fact == "mes_fw" and isinstance(right, int):
        text = hex(right)
    return text if bound.symbol == "==" else f"{bound.symbol} {text}"
