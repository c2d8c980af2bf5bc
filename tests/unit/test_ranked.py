"""The order of `auto`: what is known of a backend here gives it its place, and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from forge.config import BackendSettings, Config
from forge.doctor import Effect
from forge.health import Device
from forge.order import ranked
from forge.past import Past
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.worker_options import WorkerOptions

HIP = BackendSpec("hip", "m:C", priority=10, proven=30, stack="rocm")
VULKAN = BackendSpec("vulkan", "m:C", priority=20, stack="vulkan")
CPU = BackendSpec("cpu", "m:C", priority=99, floor=True)
ALL = (CPU, HIP, VULKAN)
CARD, CHIP = "0000:03:00.0", "0000:0a:00.0"


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with closing(Ledger.open()) as opened:
        yield opened


def names(config=None, past=None, effects=()) -> list[str]:
    return [place.spec.name for place in ranked(ALL, config or Config(), past, effects)]


def test_a_floor_comes_last_whatever_its_priority():
    assert names() == ["vulkan", "hip", "cpu"]


def test_a_self_test_that_passed_here_moves_a_backend_up(ledger):
    past = Past(WorkerOptions(None), ledger)
    key = past.key(HIP)
    ledger.self_tested(key, False)
    assert names(past=past) == ["vulkan", "hip", "cpu"]
    ledger.self_tested(key, True)
    places = ranked(ALL, Config(), past)
    assert [place.spec.name for place in places] == ["hip", "vulkan", "cpu"]
    assert "self-test passed" in places[0].reason


def test_a_self_test_of_another_kernel_counts_for_nothing(ledger):
    past = Past(WorkerOptions(None), ledger)
    key = past.key(HIP)
    ledger.self_tested(replace(key, parts={**key.parts, "kernel": "6.1-of-yesterday"}), True)
    assert names(past=past) == ["vulkan", "hip", "cpu"]


def test_the_configuration_may_say_that_a_backend_is_proven():
    assert names(Config({"hip": BackendSettings(proven=True)})) == ["hip", "vulkan", "cpu"]


def test_the_reason_says_what_would_move_a_backend_up():
    (_, hip, _) = ranked(ALL, Config())
    assert "forge selftest -b hip" in hip.reason
    assert hip.objection == ""


def test_an_integrated_gpu_comes_after_a_discrete_one(ledger):
    past = Past(WorkerOptions(None), ledger)
    ledger.opened("vulkan", "", Device("Radeon 780M", "integrated", "0", address=CHIP))
    ledger.opened("hip", "", Device("RX 7900 XT", "discrete", "0", address=CARD))
    places = ranked(ALL, Config(), past)
    assert [place.spec.name for place in places] == ["hip", "vulkan", "cpu"]
    assert "integrated" in places[1].reason


def test_a_device_that_is_software_is_never_picked_by_itself(ledger):
    past = Past(WorkerOptions(None), ledger)
    ledger.opened("vulkan", "", Device("llvmpipe", "software", "0"))
    places = {place.spec.name: place for place in ranked(ALL, Config(), past)}
    assert "-b vulkan" in places["vulkan"].objection


def test_a_software_device_is_no_objection_once_the_machine_has_other_drivers(ledger):
    before = {"vulkan": "the drivers of another day"}
    ledger.opened("vulkan", "", Device("llvmpipe", "software", "0"), before)
    places = ranked(ALL, Config(), Past(WorkerOptions(None), ledger))
    assert [place.objection for place in places] == ["", "", ""]


def test_a_software_device_stays_an_objection_while_the_machine_is_as_it_was(ledger):
    past = Past(WorkerOptions(None), ledger)
    past.opened(VULKAN, Device("llvmpipe", "software", "0"))
    places = {place.spec.name: place for place in ranked(ALL, Config(), past)}
    assert "-b vulkan" in places["vulkan"].objection


def test_a_backend_that_found_no_device_is_left_out_until_something_changes(ledger):
    past = Past(WorkerOptions(None), ledger)
    past.opened(VULKAN, Device("RX 7900 XT", "discrete", "0", address=CARD))
    past.unavailable(VULKAN)
    place = next(p for p in ranked(ALL, Config(), past) if p.spec is VULKAN)
    assert place.nothing
    assert "`forge backends` looks again" in place.objection
    assert past.device(VULKAN).address == CARD  # what is remembered of the card still counts

    past.opened(VULKAN, Device("RX 7900 XT", "discrete", "0", address=CARD))
    assert not any(p.objection for p in ranked(ALL, Config(), past))


def test_a_backend_that_found_no_device_is_tried_on_a_machine_with_other_drivers(ledger):
    Past(WorkerOptions(None), ledger).unavailable(VULKAN)
    absent = ledger.last_opened("vulkan", " (not there)")
    ledger.opened("vulkan", " (not there)", absent, {"vulkan": "the drivers of another day"})
    assert not any(p.objection for p in ranked(ALL, Config(), Past(WorkerOptions(None), ledger)))


def test_a_rule_that_demotes_puts_a_stack_behind_the_others():
    effect = Effect("rocm", "demote", "", "rdna1-rocm-gap", "it crashes")
    proven = Config({"hip": BackendSettings(proven=True)})
    places = ranked(ALL, proven, None, [effect])
    assert [place.spec.name for place in places] == ["vulkan", "hip", "cpu"]
    assert "forge doctor --explain rdna1-rocm-gap" in places[1].reason
    assert places[1].objection == ""


def test_a_rule_that_blocks_speaks_louder_than_one_that_demotes(ledger):
    effects = [
        Effect("rocm", "demote", CARD, "one", "it crashes"),
        Effect("rocm", "block", CARD, "two", "it hangs"),
    ]
    (hip,) = [place for place in ranked(ALL, Config(), None, effects) if place.spec == HIP]
    assert hip.objection == "it hangs (`forge doctor --explain two`)"
    past = Past(WorkerOptions(None), ledger)
    ledger.opened("hip", "", Device("RX 7900 XT", "discrete", "0", address=CHIP))
    (hip,) = [place for place in ranked(ALL, Config(), past, effects) if place.spec == HIP]
    assert hip.objection == ""  # the rules are about another card
