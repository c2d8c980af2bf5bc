"""The report has what a driver's developers need, and nothing that says whose machine it is."""

from __future__ import annotations

import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from forge.doctor import Examination, examine
from forge.doctor.archive import write_report
from forge.doctor.memory import Memory, in_words, remembered
from forge.doctor.redact import Redactor
from forge.errors import OutputError, UsageError
from forge.health import Device
from forge.state import BINS, Key, Ledger

from .cases import STRIX_HALO, on
from .trees import ADDRESS, Machine, build, hang, write

USER, HOST = "zaphodb", "heartofgold"
HOME = f"/home/{USER}"
PROMPT = "Dear diary, my GPU and I amdgpu hang out"
SECRETS = (
    *(USER, HOST, HOME, "Dear diary", "diary", "hang out", "secret-model"),
    *("00:1a:2b:3c:4d:5e", "00-1a-2b-3c-4d-5e", "SN-4242-XYZ", "0123456789abcdef", "192.168.7.9"),
    *("123e4567-e89b-12d3-a456-426614174000", "zaphod@example.org", "Projects"),
)
LINES = (
    f"amdgpu {ADDRESS}: amdgpu: Process {USER}-game pid 77 thread {USER}-game:cs0 pid 78",
    f"amdgpu {ADDRESS}: amdgpu: GPU reset begin! on {HOST}",
    f"amdgpu {ADDRESS}: serial number: SN-4242-XYZ unique_id 0123456789abcdef",
    "amdgpu: 00:1a:2b:3c:4d:5e 192.168.7.9 123e4567-e89b-12d3-a456-426614174000",
    f"[drm] loaded {HOME}/Projects/secret-model.gguf for zaphod@example.org",
    f"usb 1-1: SerialNumber: SN-4242-XYZ {PROMPT}",
    f"EXT4-fs (sda): mounted filesystem 123e4567-e89b-12d3-a456-426614174000 by {USER}",
)
WORKER = (
    f"loading {HOME}/Projects/secret-model.gguf",
    PROMPT,
    f"prompt: {PROMPT}",
    f'HIP error: invalid device function at "{HOME}/Projects/secret-model.gguf"',
    f"amdgpu: opened by {USER} on {HOST} 00-1a-2b-3c-4d-5e",
    f"error: while answering '{PROMPT}'",
    f"rocBLAS error: '{PROMPT}'",
    f"error: {PROMPT}",
    f"ValueError: {PROMPT}",
    f"[12:30:01] {PROMPT}",
    f'  File "{HOME}/Projects/forge/worker.py", line 3 in run',
)
ENVIRON = {
    "HOME": HOME,
    "USER": USER,
    "LOGNAME": USER,
    "HOSTNAME": HOST,
    "VK_DRIVER_FILES": f"{HOME}/.local/radeon_icd.json",
    "ROCR_VISIBLE_DEVICES": "GPU-0123456789abcdef",
    "HIP_PATH": f"{HOME}/Projects/rocm",
    "AMD_NOTE": PROMPT,
    "HSA_ENABLE_SDMA": "0",
    "SECRET_TOKEN": "SN-4242-XYZ",
}


def planted(root: Path) -> Examination:
    """A machine that has the person's things everywhere."""
    record = hang(
        device=f"Radeon 8060S [{ADDRESS}] of {HOST}",
        detail=f"tensor blk.3 of {HOME}/Projects/secret-model.gguf",
        reason=f"no progress for {USER}",
        log=list(WORKER),
        stack="\n".join(("Current thread 0x1 (most recent call first):", WORKER[-1], *WORKER)),
        threads=[f"python3 ({USER}) D amdgpu_wait"],
        prompt=PROMPT,
        text=PROMPT,
        messages=[{"role": "user", "content": PROMPT}],
    )
    machine = on(
        STRIX_HALO,
        log=LINES,
        hangs=(record,),
        cmdline=f"root=UUID={SECRETS[-3]} user={USER} quiet aamdgpu.cwsr_enable=0 amdgpu.x={HOST}",
    )
    build(root, machine)
    write(root, "etc/hostname", f"{HOST}\n")
    write(root, "proc/sys/kernel/hostname", f"{HOST}\n")
    write(root, "proc/sys/kernel/osrelease", f"6.18.6-{USER}\n")
    write(root, f"sys/bus/pci/devices/{ADDRESS}/unique_id", "0123456789abcdef\n")
    write(root, f"sys/bus/pci/devices/{ADDRESS}/serial_number", "SN-4242-XYZ\n")
    return examine(root, environ=ENVIRON, state=root / "state", seconds=20)


def contents(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        return {
            member.name: opened.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in opened.getmembers()
        }


@pytest.fixture
def written(tmp_path: Path) -> dict[str, str]:
    found = planted(tmp_path / "root")
    write_report(tmp_path / "r.tar.gz", found, [("cpu", "")], ENVIRON, tmp_path / "root")
    return contents(tmp_path / "r.tar.gz")


def test_nothing_planted_gets_into_the_report(written: dict[str, str], tmp_path: Path) -> None:
    everything = "\n".join((*written, *written.values()))
    leaked = [secret for secret in SECRETS if secret.lower() in everything.lower()]
    assert leaked == []
    assert str(tmp_path) not in everything
    assert os.uname().nodename not in written["forge-report/kernel-log.txt"].split()


def test_what_was_planted_was_seen_by_the_examination(tmp_path: Path) -> None:
    """Else the test above would pass for the wrong reason."""
    found = planted(tmp_path)
    seen = repr(found)
    missing = [secret for secret in SECRETS if secret not in seen]
    assert missing == []


def test_what_a_developer_needs_is_in_it(written: dict[str, str]) -> None:
    assert {name.removeprefix("forge-report/") for name in written} == {
        *("README.txt", "facts.json", "findings.json", "kernel-log.txt", "versions.json"),
        "memory.json",
        "hangs/01.json",
    }
    facts = json.loads(written["forge-report/facts.json"])
    [gpu] = facts["gpus"]
    assert (gpu["address"], gpu["isa_name"], gpu["facts"]["mes_fw"]) == (ADDRESS, "gfx1151", 0x80)
    assert facts["machine"]["kernel"] == "6.18.6"
    assert facts["machine"]["env.HSA_ENABLE_SDMA"] == "0"
    assert "GPU reset begin!" in written["forge-report/kernel-log.txt"]
    assert "usb" not in written["forge-report/kernel-log.txt"]
    record = json.loads(written["forge-report/hangs/01.json"])
    assert (record["backend"], record["phase"], record["age_s"]) == ("hip", "decode", 9.1)
    assert any("invalid device function" in line for line in record["log"])
    assert len(record["log"]) == len(WORKER)
    found = json.loads(written["forge-report/findings.json"])
    assert "previous-reset-this-boot" in {finding["rule"] for finding in found["findings"]}
    assert json.loads(written["forge-report/versions.json"])["backends"] == {"cpu": "installed"}


def test_the_archive_tells_neither_owners_nor_times(tmp_path: Path) -> None:
    write_report(tmp_path / "r.tar.gz", planted(tmp_path / "root"), [], ENVIRON, tmp_path / "root")
    with tarfile.open(tmp_path / "r.tar.gz") as opened:
        for member in opened.getmembers():
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == 0
            assert member.isfile()


def test_a_file_that_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    found = examine(tmp_path, environ={})
    report = tmp_path / "r.tar.gz"
    report.write_text("mine")
    with pytest.raises(UsageError, match="--force overwrites it"):
        write_report(report, found, [], {})
    assert report.read_text() == "mine"
    write_report(report, found, [], {}, force=True)
    assert "forge-report/facts.json" in contents(report)
    link = tmp_path / "link.tar.gz"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError):
        write_report(link, found, [], {})


def test_of_two_reports_at_once_to_one_file_one_is_refused(tmp_path: Path) -> None:
    found = examine(tmp_path, environ={})
    together = Barrier(8)

    def attempt(number: int) -> bool:
        together.wait()
        try:
            write_report(tmp_path / "r.tar.gz", found, [(str(number), "")], {})
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(attempt, range(8)))
    assert written.count(True) == 1
    versions = json.loads(contents(tmp_path / "r.tar.gz")["forge-report/versions.json"])
    assert versions["backends"] == {str(written.index(True)): "installed"}


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    found = examine(tmp_path, environ={})
    with pytest.raises(OutputError, match="No such file or directory"):
        write_report(tmp_path / "nowhere/r.tar.gz", found, [], {})
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OutputError):
        write_report(folder, found, [], {}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_redaction_keeps_what_is_about_hardware() -> None:
    redact = Redactor({"HOME": HOME, "USER": USER, "HOSTNAME": HOST})
    for line in (
        f"amdgpu {ADDRESS}: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32770)",
        "resume of IP block <psp> failed -62",
        "ring comp_1.0.0 timeout, signaled seq=3, emitted seq=4",
        "Memory access fault by GPU node-1 on address 0x7f1200000000. Reason: Page not present",
        "/dev/kfd: permission denied",
        "kernel 6.18.4, ROCm 7.2.1",
    ):
        assert redact.text(line) == line


def test_a_host_without_a_readable_name_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "etc/hostname").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    os.mkfifo(tmp_path / "proc/sys/kernel/hostname")
    assert Redactor({"HOSTNAME": HOST}, tmp_path).text(f"on {HOST}") == "on <host>"


def test_names_are_taken_out_as_words_only() -> None:
    redact = Redactor({"HOME": "/home/al", "USER": "al", "HOSTNAME": "box.example.org"})
    assert redact.text("al installs all, al-x: AL") == "<user> installs all, <user>-x: <user>"
    assert redact.text("box.example.org and box, not boxes") == "<host> and <host>, not boxes"
    assert redact.text("/home/al and /home/alf/y") == "~ and <path>"


def test_a_home_below_another_is_taken_out_too() -> None:
    redact = Redactor({"HOME": "/data/people/zb", "USER": "zb"})
    assert "people" not in redact.text("open /data/people/zb/models/m.gguf failed")


def test_a_machine_without_secrets_needs_no_redaction(tmp_path: Path) -> None:
    build(tmp_path / "root", replace(Machine(), hangs=(hang(),)))
    found = examine(tmp_path / "root", environ={}, state=tmp_path / "root/state", seconds=20)
    write_report(tmp_path / "r.tar.gz", found, [], {}, tmp_path / "root")
    assert "left out" in contents(tmp_path / "r.tar.gz")["forge-report/hangs/01.json"]


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        (f"the worker was killed by SIGABRT: {PROMPT}", "the worker was killed by SIGABRT: "),
        (f"the worker ended with exit code 1: {WORKER[0]}", "the worker ended with exit code 1: "),
        ("the worker was killed by SIGABRT: HIP error: invalid argument", "HIP error: invalid arg"),
        ("no progress for 2 s in decode", "no progress for 2 s in decode"),
    ],
)
def test_the_last_words_of_a_worker_are_looked_through(reason, kept, tmp_path: Path) -> None:
    build(tmp_path, on(STRIX_HALO, hangs=(hang(reason=reason),)))
    found = examine(tmp_path, environ=ENVIRON, state=tmp_path / "state", seconds=20)
    write_report(tmp_path / "r.tar.gz", found, [], ENVIRON, tmp_path)
    text = contents(tmp_path / "r.tar.gz")["forge-report/hangs/01.json"]
    assert kept in text
    assert [secret for secret in SECRETS if secret.lower() in text.lower()] == []


def test_what_forge_remembers_is_in_it_without_a_persons_notes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with Ledger.open(state) as ledger:
        ledger.quarantine(Key("hip", ADDRESS), PROMPT)  # by hand: it has no phase
        died = f"the worker was killed by SIGABRT: {WORKER[0]}"
        ledger.quarantine(Key("hip", ADDRESS, {"kernel": "6.1"}), died, "decode")
        ledger.opened("hip", "", Device("GPU", "discrete", "0", "amdgpu", ADDRESS))
        counts = [0.0] * BINS
        counts[20] = 50.0
        ledger.add_paces(ADDRESS, "hip", {("decode", 27): counts})
    build(tmp_path / "root", STRIX_HALO)
    found = examine(tmp_path / "root", environ=ENVIRON, seconds=20)
    memory = remembered(state, ["hip"], found, tmp_path / "root")
    write_report(tmp_path / "r.tar.gz", found, [], ENVIRON, tmp_path, memory=memory)
    text = contents(tmp_path / "r.tar.gz")["forge-report/memory.json"]
    assert [secret for secret in SECRETS if secret.lower() in text.lower()] == []
    known = json.loads(text)
    assert [entry["reason"].partition(":")[0] for entry in known["quarantines"]] == [
        "(left out)",
        "the worker was killed by SIGABRT",
    ]
    assert [entry["holds"] for entry in known["quarantines"]] == [True, False]
    (pace,) = known["paces"]
    assert (pace["phase"], pace["work"], pace["budget_s"]) == ("decode", 27, 2.0)
    assert 0.01 < pace["p99_s"] < 0.1


def test_a_ledger_that_somebody_damaged_is_told_and_none_is_made(tmp_path: Path) -> None:
    build(tmp_path / "root", STRIX_HALO)
    found = examine(tmp_path / "root", environ=ENVIRON, seconds=20)
    empty = remembered(tmp_path / "nowhere", ["hip"], found, tmp_path / "root")
    assert empty == Memory()
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.db").write_bytes(b"damaged" * 1000)
    memory = remembered(tmp_path / "state", ["hip"], found, tmp_path / "root")
    assert any("state.db" in note for note in memory.notes)
    assert any("memory: " in line for line in in_words(memory))
