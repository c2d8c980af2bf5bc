"""Judges every rule against the facts: certain, possible or ruled out; and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from forge.doctor.conditions import Test, either
from forge.doctor.facts import Facts, Gpu, Unknown
from forge.doctor.rules import Rule

Certainty: TypeAlias = Literal["certain", "possible"]
_SEVERITY = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps a finding from being certain: the fact, why it is unknown, and how to know it."""

    fact: str
    why: str
    how: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that holds, or may hold, on a GPU ("" is the whole machine)."""

    rule: Rule
    certainty: Certainty
    device: str = ""
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What a certain finding means for backends.

    stack: the driver stack: a backend that uses it is not to be used ("block"), or only after the
        others ("demote").
    device: the GPU's PCI address; "" for all of them.
    rule, reason: the rule's id, and its symptom.
    """

    stack: str
    action: Literal["block", "demote"]
    device: str
    rule: str
    reason: str


def judge(rules: Iterable[Rule], facts: Facts) -> tuple[list[Finding], list[str]]:
    """The findings, certain and severe ones first, and the ids of the rules that are ruled out."""
    findings: list[Finding] = []
    out: list[str] = []
    for rule in rules:
        found = list(_of_rule(rule, facts))
        findings += found
        if not found:
            out.append(rule.id)
    findings.sort(key=lambda f: (f.certainty != "certain", _SEVERITY.index(f.rule.severity)))
    return findings, out


def _of_rule(rule: Rule, facts: Facts) -> Iterator[Finding]:
    """One for each GPU that it holds on; a rule about the machine has one at most."""
    for gpu in facts.gpus if rule.per_gpu else (None,):
        missing = _missing(rule, facts, gpu)
        if missing is not None:
            certainty: Certainty = "possible" if missing else "certain"
            yield Finding(rule, certainty, gpu.address if gpu else "", tuple(missing))


def _missing(rule: Rule, facts: Facts, gpu: Gpu | None) -> list[Missing] | None:
    """What would have to be known; None where the rule is ruled out."""
    truths = [(test, test.judge(facts, gpu)) for test in rule.when]
    if any(truth is False for _, truth in truths):
        return None
    missing = [_unknown(test, truth) for test, truth in truths if isinstance(truth, Unknown)]
    if rule.confirm:
        confirmed = either(test.judge(facts, gpu) for test in rule.confirm)
        if confirmed is not True:
            test = rule.confirm[0]
            why = confirmed if isinstance(confirmed, Unknown) else Unknown("it is not so")
            missing.append(_unknown(test, why))
    return missing


def _unknown(test: Test, truth: Unknown) -> Missing:
    return Missing(str(test), truth.why, truth.how or test.meaning.how)


def effects(findings: Iterable[Finding]) -> list[Effect]:
    """What the certain findings mean for the choice of backends; possible ones mean nothing."""
    found: list[Effect] = []
    for finding in findings:
        if finding.certainty == "certain":
            rule, device = finding.rule, finding.device
            found += [Effect(s, "block", device, rule.id, rule.symptom) for s in rule.blocks]
            found += [Effect(s, "demote", device, rule.id, rule.symptom) for s in rule.demotes]
    return found
