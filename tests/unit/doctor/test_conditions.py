"""Conditions in three values, and what they make of versions, streams and several GPUs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from forge.doctor import Facts, Gpu, Unknown, effects, knowledge
from forge.doctor.conditions import parse
from forge.doctor.judge import judge
from forge.doctor.rocm import stream

from .cases import SOUND, STRIX_HALO, on, says
from .trees import GIB, Card, Machine, look

UNKNOWN = Unknown("nobody knows", "ask")
OTHER = "0000:03:00.0"


def holds(fact: str, wanted: object, value: Any, **more: Any) -> object:
    [test] = parse(fact, wanted)
    gpu = Gpu("0000:03:00.0", "744c", {fact: value, **more})
    truth = test.judge(Facts({fact: value, **more}), gpu)
    return "unknown" if isinstance(truth, Unknown) else truth


@pytest.mark.parametrize(
    ("fact", "wanted", "value", "truth"),
    [
        ("kernel", ">=6.18", (6, 18), True),
        ("kernel", ">=6.18", (6, 18, 0), True),
        ("kernel", ">6.18", (6, 18, 0), False),
        ("kernel", ">=6.18", (6, 9), False),
        ("kernel", "<6.16.9", (6, 16, 10), False),
        ("kernel", "<6.16.9", (6, 16), True),
        ("kernel", ">=6.17,<6.18", (6, 17, 99), True),
        ("kernel", ">=6.17,<6.18", (6, 18), False),
        ("kernel", ["<6.1", ">=7"], (7, 0, 3), True),
        ("kernel", ">=6.18", UNKNOWN, "unknown"),
        ("mes_fw", "==0x83", 0x83, True),
        ("mes_fw", "<0x80", 0x80, False),
        ("mes_fw", "<0x80", None, False),
        ("vram_total", ">16GiB", 16 * GIB, False),
        ("vram_total", ">16GiB", 16 * GIB + 1, True),
        ("isa", [110500, 110501], 110501, True),
        ("isa", [110500, 110501], 110502, False),
        ("dkms", True, True, True),
        ("dkms", True, None, False),
        ("dkms", False, None, False),
        ("dkms", False, UNKNOWN, "unknown"),
        ("cmdline", ["a.b", "c.d"], frozenset({"c.d"}), True),
        ("cmdline", "a.b", frozenset({"a"}), False),
        ("runtime_status", "error", "active", False),
        ("isa", 1, True, False),
        ("rocm", {"prod": ">=7.0,<7.2"}, (7, 1, 1), True),
        ("rocm", {"prod": ">=7.0"}, (7, 9, 0), False),
        ("rocm", {"prod": ">=7.0"}, (7, 12, 0), False),
        ("rocm", {"prod": "<7.2.1", "preview": True}, (7, 10, 0), True),
        ("rocm", {"therock": "<7.13"}, (7, 12, 1), True),
        ("rocm", {"therock": "<7.13"}, (7, 1, 1), False),
        ("rocm", {"prod": ">=7.0"}, None, False),
        ("rocm", {"prod": ">=7.0", "preview": True}, UNKNOWN, "unknown"),
    ],
)
def test_a_condition_judges(fact: str, wanted: object, value: Any, truth: object) -> None:
    assert holds(fact, wanted, value) == truth


def test_a_condition_compares_with_another_fact() -> None:
    assert holds("model_bytes", ">gtt_total", 9, gtt_total=8) is True
    assert holds("model_bytes", ">gtt_total", 8, gtt_total=8) is False
    assert holds("model_bytes", ">gtt_total", 9, gtt_total=UNKNOWN) == "unknown"
    assert holds("model_bytes", ">gtt_total,<5", 9, gtt_total=UNKNOWN) is False
    assert holds("model_bytes", [">gtt_total", "<10"], 9, gtt_total=UNKNOWN) is True


@pytest.mark.parametrize(
    ("wanted", "value", "truth"),
    [
        (True, "1", True),
        (True, None, False),
        (False, None, True),
        (False, "", False),
        ("0", "0", True),
        ("0", None, False),
        ("!=0", None, True),
        ("!=0", "0", False),
        (["1", "2"], "2", True),
    ],
)
def test_an_environment_variable_is_compared(wanted: object, value: Any, truth: bool) -> None:
    [test] = parse("env", {"HSA_X": wanted})
    values = {"env.*": None} if value is None else {"env.HSA_X": value, "env.*": None}
    assert test.judge(Facts(values), None) is truth


@pytest.mark.parametrize("truths", [*product((True, False, None), repeat=3)])
def test_a_rule_is_certain_possible_or_ruled_out(truths: tuple[bool | None, ...]) -> None:
    """All true is certain; one false rules out, whatever is unknown; else it is possible."""
    names = ("dkms", "secure_boot", "kfd")
    rule = replace(
        knowledge().rules[0], when=tuple(test for name in names for test in parse(name, True))
    )
    values = {
        name: UNKNOWN if truth is None else truth for name, truth in zip(names, truths, strict=True)
    }
    findings, out = judge([rule], Facts(values))
    if False in truths:
        assert (findings, out) == ([], [rule.id])
        return
    [finding] = findings
    missing = [name for name, truth in zip(names, truths, strict=True) if truth is None]
    assert finding.certainty == ("possible" if missing else "certain")
    assert len(finding.missing) == len(missing)
    assert all((m.why, m.how) == ("nobody knows", "ask") for m in finding.missing)


def test_a_fact_that_nobody_gathered_is_unknown() -> None:
    assert Facts({}).value("isa") == Unknown("it was not looked for", Facts({}).value("isa").how)
    assert isinstance(Facts({}).value("log.ring_timeout"), Unknown)


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ((6, 4, 4), "prod"),
        ((7, 2, 1), "prod"),
        ((7, 9), "preview"),
        ((7, 11, 5), "preview"),
        ((7, 12), "therock"),
        ((8, 0), "therock"),
    ],
)
def test_a_release_belongs_to_one_stream(release: tuple[int, ...], name: str) -> None:
    assert stream(release) == name


def test_a_finding_names_the_one_gpu_that_has_it(tmp_path: Path) -> None:
    two = replace(
        STRIX_HALO, cards=(Card(address=OTHER, minor=129), replace(STRIX_HALO.cards[0], mes=0x83))
    )
    found = look(tmp_path, two)
    assert [f.device for f in found.findings if f.rule.id == "mes-083-gfx115x"] == ["0000:c5:00.0"]
    assert {(e.stack, e.action, e.device) for e in found.effects} == {
        ("rocm", "block", "0000:c5:00.0"),
    } | {("rocm", "demote", OTHER) for e in found.effects if e.device == OTHER}


def test_a_line_of_the_log_is_held_against_the_gpu_that_it_names(tmp_path: Path) -> None:
    two = replace(SOUND, cards=(SOUND.cards[0], Card(address=OTHER, minor=129)))
    found = look(tmp_path / "named", on(two, **says("resume of IP block <gfx> failed -110")))
    lost = [f for f in found.findings if f.rule.id == "device-lost-until-reboot"]
    assert [(f.device, f.certainty) for f in lost] == [("0000:c5:00.0", "certain")]
    found = look(tmp_path / "unnamed", on(two, log=("[drm] *ERROR* GPU Recovery Failed: -62",)))
    lost = [f for f in found.findings if f.rule.id == "device-lost-until-reboot"]
    assert sorted((f.device, f.certainty) for f in lost) == [
        (OTHER, "possible"),
        ("0000:c5:00.0", "possible"),
    ]
    assert not effects(found.findings)
    found = look(tmp_path / "alone", on(SOUND, log=("[drm] *ERROR* GPU Recovery Failed: -62",)))
    assert {(e.stack, e.action) for e in found.effects} == {("rocm", "block"), ("vulkan", "block")}


def test_an_override_for_one_gpu_is_not_held_against_the_other(tmp_path: Path) -> None:
    two = replace(SOUND, cards=(Card(address=OTHER), Card(isa=120001, minor=129)))
    found = look(tmp_path, replace(two, env={"HSA_OVERRIDE_GFX_VERSION_1": "11.0.0"}))
    devices = [f.device for f in found.findings if f.rule.id == "override-on-native-gpu"]
    assert devices == ["0000:c5:00.0"]


def test_a_kernel_that_might_be_bad_is_only_possible_without_a_fault(tmp_path: Path) -> None:
    found = look(tmp_path, replace(SOUND, kernel="6.18.3"))
    [finding] = found.findings
    assert (finding.rule.id, finding.certainty) == ("rdna3-kernel-6.18", "possible")
    assert not found.effects


def test_gpus_of_other_makers_are_listed_and_not_judged(tmp_path: Path) -> None:
    other = Card(vendor="0x10de", device="0x2684", isa=None, mes=None)
    found = look(tmp_path, Machine(cards=(other,), kfd=False))
    assert found.facts.others == ("10de:2684",)
    assert (found.facts.gpus, found.findings) == ((), ())
