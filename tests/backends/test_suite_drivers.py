"""A third party's own driver faults go through the suite, and a declaration that lies is found."""

from __future__ import annotations

import pytest

from forge.errors import PluginError
from forge.plugins import Plugins
from forge.spec import BackendSpec, DriverFault
from forge.testing.environment import with_plugin

from .suite_run import run_suite_fixture  # noqa: F401

FAULTS = {
    ("lost", "decode"): "BackendLost@token:3",
    ("hang", "prefill"): "BackendHung@run",
    ("exception", "compile"): "ZeroDivisionError@compile",
    ("oom", "load"): "MemoryError@compile",
}


def plugin(folder, faults):
    """The backend `driven`, whose driver is a module in that folder."""
    (folder / "third_driver.py").write_text("")
    spec = BackendSpec(
        "driven", "driven:DrivenBackend", requires=("third_driver",), install="third-driver"
    )
    return with_plugin(folder, [spec], faults)


def declared(*rows):
    return [DriverFault("driven", *row, env={"FAULT": FAULTS[row]}) for row in rows]


def test_declared_faults_pass_through_the_suite(run_suite, tmp_path):
    missing = DriverFault("driven", "no-driver", "open", env={"NO_DEVICE": "1"})
    env = plugin(tmp_path, [*declared(*FAULTS), missing])
    report = run_suite("test_faults_driver", "driven", env=env)
    assert not report.failed(), report.text
    survived = "test_the_conversation_survives_its_own_driver"
    rows = [*FAULTS, ("no-driver", "open")]
    assert report.passed() == {
        *(f"{survived}[{fault}-{phase}]" for fault, phase in rows),
        "test_what_the_plugin_declares_can_be_read",
        "test_without_a_module_that_it_requires_the_backend_is_unavailable",
    }
    assert "the driver's own faults: lost in decode, hang in prefill" in report.text


def test_a_declared_fault_that_does_not_happen_fails(run_suite, tmp_path):
    env = plugin(tmp_path, [DriverFault("driven", "lost", "decode", env={"FAULT": ""})])
    report = run_suite("test_faults_driver", "driven", "its_own_driver", env)
    assert report.failed() == {"test_the_conversation_survives_its_own_driver[lost-decode]"}


def test_a_missing_driver_without_advice_fails(run_suite, tmp_path):
    fault = {"FAULT": "BackendUnavailable@open"}  # it says no more than that
    env = plugin(tmp_path, [DriverFault("driven", "no-driver", "open", env=fault)])
    report = run_suite("test_faults_driver", "driven", "its_own_driver", env)
    assert report.failed() == {"test_the_conversation_survives_its_own_driver[no-driver-open]"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("import os; os.chdir('/')", "the current folder"),
        ("import os; os.environ['DRIVER_DEBUG'] = '1'", "the variable DRIVER_DEBUG"),
        (
            "import signal; signal.signal(signal.SIGTERM, lambda *_: None)",
            "the handler of SIGTERM",
        ),
    ],
)
def test_a_plugin_that_changes_the_hosts_process_fails(line, what, run_suite, tmp_path):
    env = plugin(tmp_path, [])
    module = tmp_path / "forge_suite_plugin.py"
    module.write_text(f"{module.read_text()}\n{line}\n")
    report = run_suite("test_contract", "driven", "listing", env)
    assert report.failed() == {"test_listing_it_loads_no_driver_and_opens_no_device"}
    assert f"changed {what}\n" in report.text


def test_the_command_line_knows_a_plugins_backend_and_what_it_lacks(run_suite, tmp_path):
    report = run_suite("test_cli", "driven", "this_backend", plugin(tmp_path, []))
    assert not report.failed(), report.text
    assert len(report.passed()) == 3


def test_the_command_line_knows_a_class_that_no_plugin_registers(run_suite):
    report = run_suite("test_cli", "third_party:ThirdBackend")
    assert not report.failed(), report.text
    assert len(report.passed()) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"fault": "tired"},
        {"phase": "lunch"},
        {"env": {"A": 1}},
        {"backend": ""},
        {"fault": "no-driver", "phase": "decode"},
    ],
)
def test_a_fault_that_cannot_be_declared_names_the_field(wrong):
    field = "phase" if "phase" in wrong else next(iter(wrong))
    with pytest.raises(PluginError, match=f"{field} is "):
        DriverFault(**{"backend": "driven", "fault": "lost", "phase": "decode", **wrong})


def test_a_hook_that_returns_nonsense_is_told_to_its_author(tmp_path, monkeypatch):
    env = with_plugin(tmp_path, [])
    (tmp_path / "forge_suite_plugin.py").write_text(
        "from forge import hookimpl\n@hookimpl\ndef forge_faults():\n    return ['hang']"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FORGE_PLUGINS", env["FORGE_PLUGINS"])
    plugins = Plugins()
    assert not plugins.broken()
    with pytest.raises(PluginError, match=r"forge_faults returned \['hang'\]"):
        plugins.faults("cpu")
