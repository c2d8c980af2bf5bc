"""Fault scripts: at the call they name, what they say, and nothing else."""

from pathlib import Path

import pytest

from .stage import play

RIGHT = [2.0] * 64


@pytest.mark.parametrize(
    "call",
    [
        "hipGetDeviceCount",
        "hipStreamCreate",
        "hipHostMalloc",
        "hipMalloc",
        "hiprtcCompileProgram",
        "hipModuleLoadData",
        "hipModuleLaunchKernel[fill]",
        "hipMemcpyAsync[d2h]",
        "hipStreamSynchronize",
        "hipFree",
    ],
)
def test_any_call_can_hang_so_that_only_sigkill_ends_it(call: str) -> None:
    rule = f"{call}=hang"
    assert play("faults.work", {"fault": rule}, stuck_at=f"fault:{rule}").signal == "SIGKILL"


@pytest.mark.parametrize(("action", "ended"), [("spin", "SIGTERM"), ("stall", "SIGKILL")])
def test_the_device_can_spin_or_stall_in_a_kernel(action: str, ended: str) -> None:
    rule = f"device[fill]={action}"
    found = play("faults.a_stalled_wait", {"fault": rule}, stuck_at=f"fault:{rule}")
    assert found.signal == ended


@pytest.mark.parametrize(("action", "ended"), [("crash", "SIGSEGV"), ("abort", "SIGABRT")])
def test_a_call_can_end_the_process(action: str, ended: str) -> None:
    assert play("faults.work", {"fault": f"hipMalloc={action}"}).signal == ended


def test_a_call_can_be_slow() -> None:
    found = play("faults.seconds", {"fault": "hipMalloc=slow:1500"})
    assert found.result > 1.5


@pytest.mark.parametrize(
    ("call", "code", "name"),
    [
        ("hipGetDeviceCount", 100, "hipErrorNoDevice"),
        ("hipMalloc", 2, "hipErrorOutOfMemory"),
        ("hipModuleLoadData", 209, "hipErrorNoBinaryForGpu"),
        ("hiprtcCompileProgram", 6, "HIPRTC_ERROR_COMPILATION: the fault script says so"),
    ],
)
def test_a_call_can_fail_with_any_error(call: str, code: int, name: str) -> None:
    assert play("faults.work", {"fault": f"{call}=err:{code}"}).error == name


def test_a_lost_device_fails_every_later_call() -> None:
    found = play("faults.errors_of_all_calls", {"fault": "device[fill]=lost"})
    assert found.result == ["", *["hipErrorLaunchFailure"] * 5]


@pytest.mark.parametrize("call", ["device[fill]", "device[d2h]", "hipMemcpyAsync[d2h]"])
def test_results_can_be_wrong_without_any_error(call: str) -> None:
    found = play("faults.work", {"fault": f"{call}=corrupt"})
    assert not found.error
    assert len(found.result) == 64
    assert sum(value != 2.0 for value in found.result) == 1


@pytest.mark.parametrize(
    ("rule", "errors"),
    [
        ("hipMalloc@2=err:2", [2]),
        ("hipMalloc@2+=err:2", [2, 3, 4]),
        ("hipMalloc[<1000]=err:2", [1, 2]),
        ("hipMalloc[>1000]@2=err:2", [4]),
        ("hipMalloc[>100 <1000]=err:2", [2]),
        ("hipFree=err:2", []),
        ("hipMalloc@1=err:2;hipMalloc@3=err:2", [1, 3]),
    ],
)
def test_a_rule_says_at_which_call(rule: str, errors: list[int]) -> None:
    found = play("faults.many_mallocs", {"fault": rule}, sizes=[50, 500, 5000, 50000])
    failed = [n for n, name in enumerate(found.result, 1) if name == "hipErrorOutOfMemory"]
    assert failed == errors


def test_a_script_in_a_file_may_change_while_the_program_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "script")
    found = play("faults.script_that_changes", {"ctl": path}, path=path)
    assert found.result == ["", "hipErrorOutOfMemory", ""]


def test_work_begins_late_and_a_query_says_so() -> None:
    assert play("faults.layers", {"late": "3"}, count=5, polls=50).result == {"asked": 4, "mark": 5}
    assert play("faults.layers", {"late": "0"}, count=5, polls=50).result == {"asked": 1, "mark": 5}


def test_a_stalled_layer_is_known_from_the_mark_of_the_one_before() -> None:
    found = play("faults.layers", {"fault": "device[layer]@4=stall"}, count=6, polls=200)
    assert found.result == {"asked": None, "mark": 3}


def test_eager_work_is_done_when_it_is_asked_for() -> None:
    found = play("faults.layers", {"eager": "1"}, count=5, polls=1)
    assert found.result == {"asked": 1, "mark": 5}


def test_what_a_reset_leaves_behind_can_be_a_card_that_calculates_wrongly(tmp_path: Path) -> None:
    wounds = {"wounds": str(tmp_path / "wounded")}
    after = {**wounds, "fault": "device[fill wounded]=corrupt"}
    assert play("faults.work", after).result == RIGHT
    hang = "hipMalloc=hang"
    assert play("faults.work", {**wounds, "fault": hang}, stuck_at=f"fault:{hang}").signal
    assert play("faults.work", after).result != RIGHT


@pytest.mark.parametrize("script", ["hipMalloc", "hipMalloc=explode"])
def test_a_script_that_means_nothing_ends_the_program(script: str) -> None:
    found = play("faults.work", {"fault": script})
    assert found.signal == "SIGABRT"
    assert "[hipsim] a fault " in found.said
