"""`forge doctor` as a person runs it, here and on machines that are folders."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

ADDRESS = "0000:c5:00.0"
STRIX = {
    "proc/sys/kernel/osrelease": "6.18.6\n",
    "proc/cmdline": "quiet\n",
    "dev/kfd": "",
    "dev/dri/renderD128": "",
    "dev/kmsg": f"3,1,7000000,-;amdgpu {ADDRESS}: amdgpu: GPU reset begin!\n",
    "sys/module/amdgpu/parameters/cwsr_enable": "1\n",
    "sys/class/kfd/kfd/topology/nodes/1/properties": (
        "simd_count 80\ngfx_target_version 110501\nlocation_id 50432\ndomain 0\ncwsr_size 1\n"
    ),
    f"sys/bus/pci/devices/{ADDRESS}/class": "0x030000\n",
    f"sys/bus/pci/devices/{ADDRESS}/vendor": "0x1002\n",
    f"sys/bus/pci/devices/{ADDRESS}/device": "0x1586\n",
    f"sys/bus/pci/devices/{ADDRESS}/fw_version/mes_fw_version": "0x00000083\n",
    f"sys/bus/pci/devices/{ADDRESS}/drm/renderD128/dev": "226:128\n",
}


@pytest.fixture
def strix(tmp_path: Path) -> Path:
    """A Strix Halo with the firmware that works with no kernel."""
    root = tmp_path / "strix"
    for path, text in STRIX.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """A state folder of the test's own."""
    return {"FORGE_STATE": str(tmp_path / "state")}


def test_it_has_an_answer_for_this_machine(forge, state) -> None:
    done = forge("doctor", env=state)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kernel" in done.stdout
    assert "hang records: none" in done.stdout
    assert "backend      cpu: installed" in done.stdout
    if not Path("/sys/module/amdgpu").exists():
        assert "No AMD GPU is on this machine's PCI bus" in done.stdout
        assert "CERTAIN" not in done.stdout
    assert not Path(state["FORGE_STATE"]).exists()


def test_it_tells_a_sick_machine_what_to_do_and_exits_with_0(forge, state, strix) -> None:
    done = forge("doctor", "--root", strix, env=state)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"CERTAIN error: mes-083-gfx115x on {ADDRESS} (gfx1151)" in done.stdout
    assert "install linux-firmware 20260110 or later" in done.stdout
    assert "CERTAIN warning: previous-reset-this-boot" in done.stdout


def test_json_is_one_object(forge, state, strix) -> None:
    done = forge("doctor", "--json", "--root", strix, env=state)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert {e["stack"]: e["action"] for e in found["effects"]} == {"rocm": "block"}
    assert found["complete"] is True
    assert {"name": "cpu", "missing": None} in found["backends"]


def test_the_last_hang_is_told_and_judged(forge, state, strix, tmp_path) -> None:
    hangs = tmp_path / "state/hangs"
    hangs.mkdir(parents=True)
    record = {"backend": "hip", "device": ADDRESS, "phase": "load", "age_s": 30, "budget_s": 15}
    (hangs / "1.json").write_text(json.dumps(record))
    (hangs / "2.json").write_text("{damaged")
    done = forge("doctor", "--root", strix, env=state)
    assert "hang: at an unknown time, hip, on 0000:c5:00.0, in load" in done.stdout
    assert "1 of them are damaged" in done.stdout
    assert f"CERTAIN warning: mmap-pageable-upload on {ADDRESS}" in done.stdout


def test_a_remedy_that_goes_round_is_answered(forge, state) -> None:
    done = forge("doctor", "--explain", "vm_fragment_size", env=state)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not recommended: amdgpu.vm_fragment_size=9" in done.stdout
    assert "why not:" in done.stdout


def test_the_report_is_one_archive_that_is_not_overwritten(forge, state, strix, tmp_path) -> None:
    file = tmp_path / "report.tar.gz"
    done = forge("doctor", "--report", file, "--root", strix, env=state)
    assert (done.returncode, done.stderr) == (0, "")
    with tarfile.open(file) as archive:
        assert "forge-report/findings.json" in archive.getnames()
        text = b"".join(archive.extractfile(member).read() for member in archive.getmembers())
    assert str(tmp_path).encode() not in text
    again = forge("doctor", "--report", file, "--root", strix, env=state)
    assert again.returncode == 2
    assert "--force overwrites it" in again.stderr
    assert forge("doctor", "--report", file, "--force", env=state).returncode == 0
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.tar.gz"]


def test_a_model_that_is_to_fit_is_measured(forge, state, strix, tmp_path) -> None:
    model = tmp_path / "m.gguf"
    with model.open("wb") as file:
        file.truncate(3 << 30)  # sparse: it has a size and no content
    total = strix / f"sys/bus/pci/devices/{ADDRESS}/mem_info_gtt_total"
    total.write_text(f"{2 << 30}\n")
    (strix / "proc/meminfo").write_text(f"MemTotal: {8 << 20} kB\n")
    done = forge("doctor", "-m", model, "--root", strix, env=state)
    assert f"CERTAIN warning: gtt-too-small on {ADDRESS}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--explain", "no-such-rule"], "nothing is known about 'no-such-rule'"),
        (["--explain", "x", "--json"], "--explain goes without --json"),
        (["--force"], "--force goes with --report"),
        (["--root", "/nonexistent"], "there is no such folder"),
        (["-m", "/nonexistent.gguf"], "No such file or directory"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_what_is_wrong_with_the_call_is_said_with_code_2(forge, state, arguments, words) -> None:
    done = forge("doctor", *arguments, env=state)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_that_cannot_be_written_is_code_1(forge, state) -> None:
    done = forge("doctor", "--report", "/proc/nonexistent/report.tar.gz", env=state)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_a_person_without_a_home_is_helped_as_well(forge, strix) -> None:
    done = forge("doctor", "--root", strix, env={"FORGE_STATE": "", "HOME": "/nonexistent"})
    assert done.returncode == 0
