"""Each leak and each lie that the tests of faults and the soak are for makes the right one fail."""

from __future__ import annotations

import pytest

from .suite_run import run_suite_fixture  # noqa: F401

LEAKS = {
    "LosesExecutables": ("loaded_and_unloaded", "memory: "),
    "LosesDescriptors": ("loaded_and_unloaded", "descriptors: 1.0 more a cycle"),
    "LosesThreads": ("loaded_and_unloaded", "threads: 1.0 more a cycle"),
    "LosesProcesses": ("loaded_and_unloaded", "children: 1.0 more a cycle"),
    "LosesDeviceMemory": ("leave_the_device_as_free", "bytes a cycle"),
    "LosesDevices": ("backends_opened", "memory: "),
    "LosesTokens": ("long_chat", "memory: "),
    "LosesFiles": ("were_killed", "PosixPath"),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_found_by_its_test(kind, run_suite):
    like, words = LEAKS[kind]
    report = run_suite("test_soak", f"leaky:{kind}", like)
    failed = {name for name in report.failed() if like in name}
    assert len(failed) == 1, report.text
    assert words in report.text


@pytest.mark.parametrize("kind", ["Forgetful", "Swallows"])
def test_a_backend_that_says_something_else_fails_before_any_fault(kind, run_suite):
    name = "test_undisturbed_the_backend_says_what_the_truth_says"
    report = run_suite("test_faults", f"leaky:{kind}", "undisturbed_the_backend")
    assert report.failed() == {name}, report.text


def test_a_backend_that_never_tells_that_it_gets_on_fails_where_loading_is_watched(run_suite):
    report = run_suite("test_faults", "leaky:Deaf", "die-load or left_alone and load")
    assert report.failed() == {
        "test_the_conversation_survives[die-load]",
        "test_slow_but_alive_is_left_alone[load]",
    }, report.text
