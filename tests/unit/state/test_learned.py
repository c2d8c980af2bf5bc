"""Probes, devices and paces."""

from dataclasses import replace

import pytest

from forge.health import Device
from forge.state import BINS, Ledger, Probe

COUNTS = [float(n) for n in range(BINS)]


def test_the_latest_probe_whose_key_holds_counts(ledger, key, machine):
    ledger.probed(key, False, "nan", 1.5)
    machine.time += 1
    ledger.probed(key, True, "7 cases", 2.5)
    assert ledger.last_probe(key) == Probe(key, True, "7 cases", 2.5, 1001.0, "probe")
    assert ledger.last_probe(replace(key, parts={**key.parts, "kernel": "6.18.3"})) is None
    assert ledger.last_probe(replace(key, backend="vulkan")) is None
    assert ledger.self_test(key) is None


def test_unprobe_is_of_the_device_and_not_of_others(ledger, key):
    other = replace(key, device="0000:04:00.0")
    for one in (key, other):
        ledger.probed(one, True)
        ledger.self_tested(one, False, "softmax")
    ledger.unprobe(key)
    assert ledger.last_probe(key) is None
    assert ledger.last_probe(other).ok
    assert ledger.self_test(key).detail == "softmax"


def test_probes_are_not_kept_without_end(ledger, key):
    for number in range(300):
        ledger.probed(replace(key, device=str(number)), True)
    assert ledger.last_probe(replace(key, device="0")) is None
    assert ledger.last_probe(replace(key, device="44")).ok
    assert ledger.last_probe(replace(key, device="299")).ok


def test_the_device_that_was_opened_last_is_known_by_what_was_asked(ledger):
    first, second = Device("A", "discrete", "0"), Device("B", "integrated", "1")
    assert ledger.last_opened("hip", "") is None
    ledger.opened("hip", "", first)
    ledger.opened("hip", "B", second)
    ledger.opened("vulkan", "", second)
    assert ledger.last_opened("hip", "") == first
    assert ledger.last_opened("hip", "B") == second
    ledger.opened("hip", "", second)
    assert ledger.last_opened("hip", "") == second
    assert ledger.last_opened("hip", "C") is None


def test_paces_decay_and_add_up(ledger, tmp_path):
    ledger.add_paces("dev", "hip", {("decode", 3): COUNTS, ("load", -1): COUNTS}, 0.5)
    ledger.add_paces("dev", "hip", {("decode", 3): COUNTS}, 0.5)
    ledger.add_paces("dev", "vulkan", {("decode", 3): COUNTS})
    with Ledger.open(tmp_path / "state") as other:
        assert other.paces("dev", "hip") == {
            ("decode", 3): [count * 1.5 for count in COUNTS],
            ("load", -1): COUNTS,
        }
    assert ledger.paces("another", "hip") == {}


@pytest.mark.parametrize(
    ("counts", "decay"),
    [
        (COUNTS[1:], 0.5),
        ([*COUNTS, 1.0], 0.5),
        ([float("nan"), *COUNTS[1:]], 0.5),
        ([-1.0, *COUNTS[1:]], 0.5),
        ([float("inf"), *COUNTS[1:]], 0.5),
        (COUNTS, 1.5),
    ],
)
def test_counts_that_are_none_are_refused_and_change_nothing(ledger, counts, decay):
    ledger.add_paces("dev", "hip", {("decode", 3): COUNTS})
    with pytest.raises(ValueError):
        ledger.add_paces("dev", "hip", {("load", 1): COUNTS, ("decode", 3): counts}, decay)
    assert ledger.paces("dev", "hip") == {("decode", 3): COUNTS}
