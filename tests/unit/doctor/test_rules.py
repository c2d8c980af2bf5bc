"""Every rule holds on a machine that is sick with it, and not on one that nearly is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from forge.doctor import Examination, Facts, Unknown, knowledge
from forge.doctor.facts import Value
from forge.doctor.judge import judge
from forge.doctor.snapshot import GATHER

from .cases import CASES, Case, on
from .trees import ADDRESS, Card, Machine, look

UNPRIVILEGED = """\
import __future__, collections.abc, errno, json, os, stat, sys
source = open(sys.argv.pop(1)).read()
os.chdir(sys.argv[1])
sys.argv[1] = "."
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
exec(compile(source, "gather.py", "exec"))
"""
"""Runs the reader as nobody, so that files may be forbidden to it even where root tests."""


def examined(root: Path, machine: Machine) -> Examination:
    """As the case needs it: a machine without access is looked at by somebody who has none."""
    if machine.access and machine.render:
        return look(root, machine)
    command = [sys.executable, "-I", "-S", "-c", UNPRIVILEGED, str(GATHER)]
    return look(root, machine, command=command)


def certain(found: Examination) -> dict[str, str]:
    return {f.rule.id: f.device for f in found.findings if f.certainty == "certain"}


def names(found: Examination) -> set[str]:
    return {f.rule.id for f in found.findings}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_sick_machine_is_told_so_and_its_near_miss_is_not(case: Case, tmp_path: Path) -> None:
    sick = examined(tmp_path / "sick", case.sick)
    near = examined(tmp_path / "near", on(case.sick, **case.cured))
    assert case.rule in certain(sick)
    assert case.rule not in names(near)
    assert case.rule in near.ruled_out
    rule = knowledge().rule(case.rule)
    assert rule
    assert certain(sick)[case.rule] == (ADDRESS if rule.per_gpu else "")


def test_every_rule_has_one_case() -> None:
    assert sorted(case.rule for case in CASES) == sorted(rule.id for rule in knowledge().rules)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_near_miss_differs_in_one_setting(case: Case) -> None:
    near = on(case.sick, **case.cured)
    changed = [
        f.name for f in fields(Machine) if getattr(near, f.name) != getattr(case.sick, f.name)
    ]
    if changed == ["cards"]:
        one, other = case.sick.cards[0], near.cards[0]
        changed = [f.name for f in fields(Card) if getattr(one, f.name) != getattr(other, f.name)]
    assert len(changed) == len(case.cured) == 1


def test_the_render_node_counts_as_well(tmp_path: Path) -> None:
    found = examined(tmp_path / "m", Machine(render=False))
    assert certain(found) == {"kfd-permission": ADDRESS}


def test_a_sound_machine_has_no_finding_at_all(tmp_path: Path) -> None:
    found = look(tmp_path, Machine())
    assert found.findings == ()
    assert found.complete
    assert len(found.ruled_out) == len(knowledge().rules)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_every_condition_of_a_rule_counts(case: Case, tmp_path: Path) -> None:
    """Without one of its facts a rule is possible only, and names it; with another it is out."""
    facts = examined(tmp_path / "sick", case.sick).facts
    rule = knowledge().rule(case.rule)
    assert rule
    for test in rule.when:
        [finding] = judge([rule], with_facts(facts, test.facts, Unknown("it is hidden")))[0][:1]
        assert (finding.certainty, finding.missing[0].fact) == ("possible", str(test))
        contrary = [with_facts(facts, test.facts, value) for value in CONTRARIES]
        assert any(judge([rule], facts)[1] == [rule.id] for facts in contrary), str(test)


CONTRARIES = (None, False, "0", "1", -1, frozenset[str](), (0,), (99,))


def with_facts(facts: Facts, names: Iterable[str], value: Value) -> Facts:
    """The same, but for some facts, of the machine and of each GPU."""
    changed = dict.fromkeys(names, value)
    gpus = tuple(replace(gpu, values={**gpu.values, **changed}) for gpu in facts.gpus)
    return replace(facts, values={**facts.values, **changed}, gpus=gpus)
