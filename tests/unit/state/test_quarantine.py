"""What is kept from being used, and until when."""

from dataclasses import replace

import pytest

from forge.state import Key, Ledger, Quarantine


def with_parts(key: Key, **parts: str) -> Key:
    return replace(key, parts={**key.parts, **parts})


def test_a_quarantine_is_found_again_by_another_process(ledger, key, tmp_path, machine):
    put = ledger.quarantine(key, "no token for 16 s", "decode", record="a.json")
    assert put == Quarantine(1, key, "no token for 16 s", "decode", 1000.0, "", "a.json", False)
    with Ledger.open(tmp_path / "state", machine.seen()) as other:
        assert other.quarantined(key) == put
    assert ledger.notes == ()
    assert ledger.kept


@pytest.mark.parametrize("part", ["kernel", "driver"])
def test_it_lapses_when_a_part_changes_and_holds_again_when_that_is_undone(ledger, key, part):
    ledger.quarantine(key, "hung")
    assert ledger.quarantined(with_parts(key, **{part: "another"})) is None
    [standing] = ledger.quarantines({part: "another"})
    assert standing.changed == (f"{part} {key.parts[part]} -> another",)
    assert not standing.holds
    assert ledger.quarantined(key) is not None
    assert ledger.quarantines(key.parts)[0].holds


def test_other_backends_devices_and_models_are_not_concerned(ledger, key):
    ledger.quarantine(key, "hung")
    assert ledger.quarantined(replace(key, backend="vulkan")) is None
    assert ledger.quarantined(replace(key, device="0000:04:00.0")) is None
    assert ledger.quarantined(with_parts(key, model="def")) is None


def test_one_of_every_backend_holds_for_the_whole_device_whatever_the_driver(ledger, key):
    ledger.quarantine(key, "its reset failed", every_backend=True)
    assert ledger.quarantined(Key("vulkan", key.device, {"kernel": "6.17.9", "driver": "radv"}))
    assert ledger.quarantined(Key("vulkan", key.device, {"kernel": "6.18.3"})) is None
    assert ledger.quarantined(Key("vulkan", "0000:04:00.0", {"kernel": "6.17.9"})) is None


def test_one_until_reboot_survives_every_change_but_that(ledger, key, machine):
    ledger.quarantine(key, "its reset failed", until_reboot=True)
    assert ledger.quarantined(with_parts(key, kernel="another", forge="9"))
    machine.boot("second")
    assert ledger.quarantined(key) is None
    assert ledger.quarantines({})[0].changed == ("the machine was restarted",)


def test_the_same_again_renews_what_is_there(ledger, key, machine):
    ledger.quarantine(key, "hung")
    machine.time += 60
    assert ledger.quarantine(key, "hung again").id == 1
    [standing] = ledger.quarantines({})
    assert (standing.quarantine.reason, standing.quarantine.when) == ("hung again", 1060.0)


def test_clearing_is_by_number_backend_or_all(ledger, key):
    for number in range(3):
        ledger.quarantine(replace(key, device=str(number)), "hung")
    ledger.quarantine(replace(key, backend="vulkan"), "hung")
    assert ledger.clear(2) == 1
    assert ledger.clear(2) == ledger.clear("cpu") == 0
    assert ledger.clear("vulkan") == 1
    assert [one.quarantine.id for one in ledger.quarantines({})] == [1, 3]
    assert ledger.clear("all") == 2
    assert ledger.quarantines({}) == []


def test_what_lapsed_ninety_days_ago_is_dropped_and_what_holds_is_not(ledger, key, machine):
    old_kernel = with_parts(key, kernel="6.1")
    ledger.quarantine(old_kernel, "hung")
    ledger.quarantine(with_parts(key, model="def"), "hung")
    ledger.quarantine(with_parts(key, model="ghi"), "hung", until_reboot=True)
    machine.boot("second")
    machine.time += 91 * 86400
    ledger.quarantine(key, "hung")
    kept = [one.quarantine.key.parts["model"] for one in ledger.quarantines({})]
    assert kept == ["def", "abc"]


def test_a_new_quarantine_makes_the_devices_probes_void_and_leaves_self_tests(ledger, key):
    other = replace(key, device="0000:04:00.0")
    for one in (key, replace(key, backend="vulkan"), other):
        ledger.probed(one, True)
        ledger.self_tested(one, True)
    ledger.quarantine(key, "hung")
    assert ledger.last_probe(key) is ledger.last_probe(replace(key, backend="vulkan")) is None
    assert ledger.last_probe(other).ok
    assert ledger.self_test(key).ok


def test_names_that_are_no_unicode_are_kept_as_well_as_can_be(ledger):
    ledger.quarantine(Key("hip", "\udcff", {"rocm": "\udc80"}), "\ud800 broke")
    assert ledger.quarantines({})[0].quarantine.reason == "? broke"
    assert ledger.notes == ()
