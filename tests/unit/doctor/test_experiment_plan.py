"""Which strategies an experiment tries: the person's own, those of findings, those of the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge.doctor import knowledge
from forge.doctor.experiment_plan import own_strategy, parse, plan, strategies
from forge.doctor.judge import Finding
from forge.doctor.rules import RuleError
from forge.health import Device
from forge.spec import BackendSpec

HIP = BackendSpec("hip", "forge_hip.backend:HipBackend", stack="rocm")
VULKAN = replace(HIP, name="vulkan", stack="vulkan")
OTHER = replace(HIP, name="other", stack="")
FLOOR = replace(OTHER, name="cpu", floor=True)


def finding(rule: str, certainty: str = "certain") -> Finding:
    known = knowledge().rule(rule)
    assert known is not None
    return Finding(known, certainty)  # type: ignore[arg-type]


def ids(spec: BackendSpec, environ: dict[str, str] | None = None, **known: object) -> list[str]:
    return [strategy.id for strategy in plan(spec, environ or {}, **known)]  # type: ignore[arg-type]


def test_each_driver_stack_gets_its_own_and_a_floor_none() -> None:
    assert ids(HIP) == ["no-sdma", "no-hipblaslt", "hipblaslt", "one-queue", "smaller"]
    assert ids(VULKAN) == ids(OTHER) == ["smaller"]
    assert ids(FLOOR) == []


def test_what_would_change_nothing_is_left_out() -> None:
    assert "no-sdma" not in ids(HIP, {"HSA_ENABLE_SDMA": "0"})
    assert "no-sdma" in ids(HIP, {"HSA_ENABLE_SDMA": "1"})
    assert "no-override" in ids(HIP, {"HSA_OVERRIDE_GFX_VERSION": "11.0.0"})
    only = own_strategy("HSA_ENABLE_SDMA=0")
    assert ids(HIP, {"HSA_ENABLE_SDMA": "0"}, own=[only]).count("HSA_ENABLE_SDMA=0") == 0


def test_several_gpus_are_tried_one_by_one() -> None:
    assert "only-gpu-0" not in ids(HIP, gpus=1)
    found = {s.id: dict(s.env) for s in plan(HIP, {}, gpus=2)}
    assert found["only-gpu-0"] == {"ROCR_VISIBLE_DEVICES": "0"}
    assert found["only-gpu-1"] == {"ROCR_VISIBLE_DEVICES": "1"}
    assert not [name for name in ids(VULKAN, gpus=2) if "gpu" in name]


def test_the_other_devices_of_a_backend_are_tried_not_the_one_that_it_opens() -> None:
    devices = [Device("iGPU", "integrated", "0"), Device("big", "discrete", "1"), Device("?")]
    found = plan(VULKAN, {}, device=devices[0], devices=devices)
    assert [(s.id, s.device) for s in found if s.device] == [("device-1", "1")]
    assert ids(VULKAN, devices=devices) == ["smaller"]  # nobody knows which one it opens


def test_what_a_finding_suggests_comes_first_with_its_reason_and_only_once() -> None:
    found = plan(HIP, {}, findings=[finding("idle-busy-queues"), finding("gfx12-hipblaslt-stall")])
    assert [s.id for s in found[:2]] == ["one-queue", "no-hipblaslt"]
    assert found[0].because == "certain: idle-busy-queues"
    assert len(found) == len(ids(HIP))


def test_a_finding_may_suggest_what_no_strategy_has() -> None:
    found = plan(HIP, {}, findings=[finding("gfx1201-hipblaslt-oob", "possible")])
    assert (found[0].id, dict(found[0].env)) == (
        "gfx1201-hipblaslt-oob",
        {"ROCBLAS_USE_HIPBLASLT": "0"},
    )
    assert found[0].sources
    assert ids(VULKAN, findings=[finding("gfx1201-hipblaslt-oob")]) == ["smaller"]


def test_a_remedy_with_a_word_to_fill_in_is_no_strategy() -> None:
    assert ids(HIP, findings=[finding("mixed-igpu-dgpu")]) == ids(HIP)


def test_several_variables_are_taken_away_together() -> None:
    environ = {"VK_DRIVER_FILES": "/x.json"}
    found = plan(VULKAN, environ, findings=[finding("software-vulkan")])
    assert found[0].unset == ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
    assert ids(VULKAN, {}, findings=[finding("software-vulkan")]) == ["smaller"]


def test_every_remedy_with_a_variable_of_its_stack_can_be_tried() -> None:
    everything = [Finding(rule, "possible") for rule in knowledge().rules]
    found = plan(HIP, {"HSA_OVERRIDE_GFX_VERSION": "9"}, findings=everything)
    for strategy in found:
        assert all(value.strip() == value for value in strategy.env.values()), strategy


@pytest.mark.parametrize(
    ("text", "env", "unset"),
    [("A=1", {"A": "1"}, ()), ("A=", {}, ("A",)), ("A=b=c", {"A": "b=c"}, ())],
)
def test_a_persons_own_is_written_as_in_a_shell(text, env, unset) -> None:
    strategy = own_strategy(text)
    assert strategy is not None
    assert (dict(strategy.env), strategy.unset) == (env, unset)


@pytest.mark.parametrize("text", ["", "A", "=1", "A B=1", "A=\0", "1A=1"])
def test_what_is_no_setting_is_none(text) -> None:
    assert own_strategy(text) is None


def test_those_of_the_package_are_well_formed_and_have_sources() -> None:
    assert all(strategy.sources and strategy.changes for strategy in strategies())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("nonsense = 1", "nonsense = 1 is not known"),
        ('changes = "x"', "id, changes and sources"),
        ('id = "a"\nchanges = "x"\nsources = ["s"]', "it has to change"),
        ('id = "a"\nchanges = "x"\nsources = ["s"]\neach = "moon"', "gpu or device"),
        ('id = "a"\nchanges = "x"\nsources = ["s"]\nenv = { A = 1 }', "hold texts"),
        ('id = "a"\nchanges = "x"\nsources = ["s"]\nenv = { "A B" = "1" }', "it has to change"),
        ('id = "a"\nchanges = "x"\nsources = ["s"]\nenv = "A"', "is not known"),
    ],
)
def test_a_strategy_that_is_wrong_is_named(entry, words) -> None:
    with pytest.raises(RuleError, match=words):
        parse(f"schema = 1\n[[strategy]]\n{entry}\n")


def test_an_id_that_is_there_twice_is_named() -> None:
    entry = '[[strategy]]\nid = "a"\nchanges = "x"\nsources = ["s"]\nfrugal = true\n'
    with pytest.raises(RuleError, match="a is there twice"):
        parse(f"schema = 1\n{entry}{entry}")
