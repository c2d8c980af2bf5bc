"""Killed workers that stay in their driver."""

import os
import signal
import subprocess

import pytest

from forge.state import Key, Ledger, ProcessId, process_id

WORKER = ProcessId(77, 500)


@pytest.fixture
def stuck(ledger, machine, key):
    machine.process(WORKER, "D")
    ledger.probed(key, True)
    return ledger.stuck(WORKER, key, "decode")


def test_while_it_is_there_no_backend_uses_its_device(ledger, key, stuck):
    vulkan = Key("vulkan", key.device, {"driver": "radv"})
    assert ledger.quarantined(vulkan) == ledger.quarantined(key) == stuck
    assert ledger.quarantined(Key("vulkan", "another")) is None
    assert not ledger.look()
    assert "process 77" in stuck.reason


def test_when_it_goes_in_time_the_device_is_free_but_needs_a_probe(ledger, machine, key, stuck):
    machine.time += 29
    ledger.probed(key, True)
    machine.gone(77)
    assert ledger.look()
    assert ledger.quarantines({}) == []
    assert ledger.last_probe(key) is None
    assert not ledger.look()


def test_a_zombie_and_another_process_of_its_number_are_no_longer_it(ledger, machine, stuck):
    machine.process(ProcessId(77, 501), "D")
    assert ledger.look()
    assert ledger.quarantines({}) == []


def test_still_there_after_half_a_minute_it_spoils_the_device_until_reboot(
    ledger, machine, key, stuck
):
    machine.time += 30
    assert ledger.look()
    machine.gone(77)
    assert not ledger.look()
    assert "reboot" in ledger.quarantined(key).reason
    machine.boot("second")
    assert ledger.quarantined(key) is None


def test_a_reboot_ends_it_also_when_another_process_has_its_number(ledger, machine, key, stuck):
    machine.boot("second")
    machine.process(WORKER, "D")
    assert ledger.quarantined(key) is None


def test_a_real_process_frees_its_device_when_it_ends(tmp_path, key):
    with Ledger.open(tmp_path / "real") as ledger:
        child = subprocess.Popen(["sleep", "60"])
        ledger.stuck(process_id(child.pid), key)
        assert ledger.quarantined(key).process.pid == child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert ledger.quarantined(key) is None
        assert ledger.quarantines({}) == []
