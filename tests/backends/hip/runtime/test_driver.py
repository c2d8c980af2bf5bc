"""The one module that calls the driver, and what it refuses to say."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest
from tests.backends.hip.runtime.conftest import Play
from tests.backends.hip.runtime.desk import Desk

import forge_hip
from forge.backend import BackendUnavailable
from forge_hip.runtime import libraries
from forge_hip.runtime.driver import CALLS, Driver

PACKAGE = Path(forge_hip.__file__).parent


def test_one_module_imports_the_binding() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("hip", "rocm") for name in names):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"runtime/driver.py"}


@pytest.mark.parametrize(
    "name",
    [
        *("hipMemcpy", "hipMemcpyWithStream", "hipMemset", "hipMallocAsync", "hipFreeAsync"),
        *("hipMemCreate", "hipMemAddressReserve", "hipMallocManaged", "hipHostRegister"),
        *("hipStreamSynchronize", "hipDeviceSynchronize", "hipEventSynchronize"),
    ],
)
def test_calls_that_hang_in_the_field_cannot_be_made(desk: Desk, name: str) -> None:
    assert name not in CALLS
    with pytest.raises(ValueError, match=name):
        desk.driver.call(name)


def test_every_call_leaves_its_name_while_it_runs_and_none_after_it(desk: Desk) -> None:
    before = desk.driver.marks.calls
    desk.driver.call("hipMemGetInfo")
    assert desk.driver.marks.calls == before + 1
    assert desk.driver.marks.call == ""


def test_a_function_that_the_driver_lacks_is_known_to_be_missing(desk: Desk) -> None:
    assert desk.driver.has("hipMalloc")
    assert not desk.driver.has("hipThereIsNoSuchFunction")
    assert desk.driver.tried("hipThereIsNoSuchFunction") is None


def test_a_machine_without_rocm_is_told_what_to_install(tmp_path: Path) -> None:
    if libraries.pair({})[0]:
        pytest.skip("this machine has ROCm")
    with pytest.raises(BackendUnavailable, match=r"no libamdhip64 here: install .* ROCM_PATH"):
        Driver(environ={"ROCM_PATH": str(tmp_path)})


def test_a_library_that_has_only_a_version_in_its_name_is_loaded(
    rocm: Path, play: Play, tmp_path: Path
) -> None:
    (tmp_path / "rt/lib").mkdir(parents=True)
    for name in ("amdhip64", "hiprtc"):
        (tmp_path / f"rt/lib/lib{name}.so.7").symlink_to(rocm / f"lib/lib{name}.so")
    (tmp_path / "rt/prelude").symlink_to(rocm / "prelude")
    program = (
        "from forge_hip.runtime.driver import Driver\n"
        "driver = Driver()\n"
        "print(driver.path, driver.call('hipGetDeviceCount'))\n"
    )
    done = play(program, ROCM_PATH=str(tmp_path / "rt"))
    assert done.stdout.split() == [str(tmp_path / "rt/lib/libamdhip64.so.7"), "1"], done.stderr


def test_a_file_that_is_no_library_makes_the_backend_unavailable(
    play: Play, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libamdhip64.so").write_text("no ELF file")
    program = (
        "from forge.backend import BackendUnavailable\n"
        "from forge_hip.runtime.driver import Driver\n"
        "try:\n"
        "    Driver().call('hipGetDeviceCount')\n"
        "except BackendUnavailable as error:\n"
        "    print(error)\n"
    )
    done = play(program, ROCM_PATH=str(tmp_path))
    assert "do not load" in done.stdout, done.stderr
    assert "install ROCm" in done.stdout


LOST = """
import json, os
from tests.backends.hip.runtime.desk import Desk
from forge.backend import BackendLost

desk = Desk()
said = []
for number in (1, 2):
    try:
        desk.plus(number, 2)
    except BackendLost as error:
        said.append((str(error), desk.driver.marks.calls))
desk.close()
print(json.dumps([said, desk.driver.marks.calls]))
"""


def test_once_the_device_is_lost_no_call_reaches_the_driver(play: Play) -> None:
    """A driver may hang in the second call after a fault."""
    done = play(LOST, HIPSIM_FAULT="device[forge_ping]=lost", PYTHONPATH=os.getcwd())
    [(first, calls), (again, calls_then)], calls_at_the_end = json.loads(done.stdout)
    assert first == again
    assert "hipErrorLaunchFailure" in first
    assert calls == calls_then == calls_at_the_end
