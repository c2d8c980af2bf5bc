"""Reading a sick machine's files: what hangs is cut off, what is nonsense is survived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge.doctor import Examination, Unknown, examine, knowledge
from forge.doctor.archive import write_report
from forge.doctor.as_json import as_json
from forge.doctor.explain import explain
from forge.doctor.snapshot import COMMAND, take
from forge.doctor.text import clean, report

from .cases import SOUND, STRIX_HALO, on
from .trees import ADDRESS, build, look, write

FOLDER = f"sys/bus/pci/devices/{ADDRESS}"
NODE = "sys/class/kfd/kfd/topology/nodes/1/properties"


@pytest.mark.parametrize(
    ("path", "fact"),
    [
        (f"{FOLDER}/mem_info_vram_total", "vram_total"),
        (f"{FOLDER}/fw_version/mes_fw_version", "mes_fw"),
        (f"{FOLDER}/power/runtime_status", "runtime_status"),
        (f"{FOLDER}/gpu_busy_percent", "busy_percent"),
        (NODE, "isa"),
    ],
)
def test_a_read_that_hangs_is_cut_off_and_the_rest_is_found(
    path: str, fact: str, tmp_path: Path
) -> None:
    found = look(tmp_path, on(STRIX_HALO, dkms=True, hanging=path))
    [gpu] = found.facts.gpus
    assert found.complete
    assert found.facts.hung == (path,)
    value = gpu.values[fact]
    assert isinstance(value, Unknown)
    assert "reading it hangs" in value.why
    unread = [name for name, value in gpu.values.items() if "reading it hangs" in str(value)]
    assert len(unread) <= 3
    assert found.facts.values["dkms"] is True
    assert found.facts.values["kernel"] == (6, 18, 6)
    hanging = [f for f in found.findings if f.rule.id == "sysfs-read-hangs"]
    assert [(f.device, f.certainty) for f in hanging] == [(ADDRESS, "certain")]


def test_a_device_that_does_not_say_what_it_is_leaves_the_count_open(tmp_path: Path) -> None:
    found = look(tmp_path, on(SOUND, hanging=f"{FOLDER}/vendor", kfd=False))
    assert isinstance(found.facts.values["amd_gpus"], Unknown)
    findings = [(f.rule.id, f.certainty) for f in found.findings]
    assert ("kfd-missing", "possible") in findings


def test_several_reads_that_hang_are_cut_off_one_by_one(tmp_path: Path) -> None:
    names = ("mem_info_vram_total", "mem_info_gtt_total", "vbios_version")
    build(tmp_path, SOUND)
    for name in names:
        (tmp_path / FOLDER / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / FOLDER / name)
    found = take(tmp_path, seconds=20)
    assert found.complete
    assert sorted(found.hung) == sorted(f"{FOLDER}/{name}" for name in names)
    assert found.text(f"{FOLDER}/mem_info_gtt_used") == "4096"


def test_time_runs_out_where_everything_hangs(tmp_path: Path) -> None:
    """A process that says nothing at all, and one that hangs at another file each time."""
    silent = [sys.executable, "-c", "import time; time.sleep(1000)"]
    found = take(tmp_path, seconds=0.5, command=silent)
    assert (found.complete, found.hung) == (False, [])
    assert "no time" in found.why("proc/cmdline")
    moving = 'import time, sys; print(\'["?", "%s"]\' % time.time(), flush=True); time.sleep(99)'
    found = take(tmp_path, seconds=30, command=[sys.executable, "-c", moving])
    assert not found.complete
    assert len(found.hung) == 6


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    build(tmp_path, on(SOUND, hanging=f"{FOLDER}/mem_info_vram_total"))
    take(tmp_path, seconds=20)
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            commands.append(path.read_bytes())
    assert not [command for command in commands if os.fsencode(tmp_path) in command]


def test_a_reader_that_cannot_be_killed_is_left_behind(tmp_path: Path) -> None:
    """As one in state D: its session and its pipe are out of reach, and SIGKILL finds nobody."""
    pid = tmp_path / "pid"
    stuck = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"  # the process that is known ends; this one keeps the pipe
        "os.setsid()\n"
        "open(sys.argv[1], 'a').write('%d ' % os.getpid())\n"
        'print(\'["?", "stuck"]\', flush=True)\n'
        "time.sleep(1000)\n"
    )
    command = [sys.executable, "-c", stuck, str(pid)]
    try:
        found = take(tmp_path, seconds=20, command=command)
        assert "stuck" in found.hung
        assert not found.complete
    finally:
        for number in pid.read_text().split():
            with suppress(OSError):
                os.kill(int(number), signal.SIGKILL)


def test_a_reader_that_only_waits_for_a_core_is_not_given_up(tmp_path: Path) -> None:
    busy = (
        "import time\n"
        'print(\'["?", "slow"]\', flush=True)\n'
        "end = time.monotonic() + 3 * 0.4\n"
        "while time.monotonic() < end: pass\n"
        'print(\'["text", "slow", "done"]\', flush=True)\n'
        "print('[\"end\"]', flush=True)\n"
    )
    found = take(tmp_path, seconds=20, command=[sys.executable, "-c", busy])
    assert (found.hung, found.text("slow"), found.complete) == ([], "done", True)


@pytest.mark.parametrize(
    "script",
    [
        "print('no json')",
        "print('[]')\nprint('{}')\nprint('[1, 2]')\nprint('[\"text\", 3, 4]')",
        'print(\'["names", "sys/bus/pci/devices", 7]\')',
        "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)",
        "print('[' * 100_000)",
        "raise SystemExit(3)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    ],
)
def test_a_reader_that_talks_nonsense_makes_everything_unknown(script: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", script]
    found = examine(tmp_path, environ={}, command=command)
    assert not found.complete
    assert isinstance(found.facts.value("kernel"), Unknown)


def test_no_reader_at_all_makes_everything_unknown(tmp_path: Path) -> None:
    found = examine(tmp_path, environ={}, command=["/nonexistent/python"])
    assert not found.complete
    assert found.facts.gpus == ()


def test_an_empty_root_is_a_machine_without_a_gpu(tmp_path: Path) -> None:
    found = examine(tmp_path, environ={})
    assert found.complete
    assert found.findings == ()
    assert found.log.why.startswith("/dev/kmsg: ")
    assert found.facts.values["kfd"] is False


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    """Root may read everything; a folder where a file should be is unreadable to it as well."""
    build(tmp_path, STRIX_HALO)
    status = tmp_path / FOLDER / "mem_info_vram_total"
    status.unlink()
    status.mkdir()
    [gpu] = examine(tmp_path, environ={}).facts.gpus
    assert gpu.values["vram_total"] == Unknown("Is a directory")


def test_a_symbolic_link_in_a_loop_and_one_to_nowhere_are_survived(tmp_path: Path) -> None:
    build(tmp_path, STRIX_HALO)
    loop = tmp_path / FOLDER / "fw_version"
    for name in loop.iterdir():
        name.unlink()
    loop.rmdir()
    loop.symlink_to(loop)
    node = tmp_path / NODE
    node.unlink()
    node.symlink_to("/nonexistent")
    found = examine(tmp_path, environ={})
    [gpu] = found.facts.gpus
    assert isinstance(gpu.values["mes_fw"], Unknown)
    assert isinstance(gpu.values["isa"], Unknown)
    assert found.complete


def test_a_huge_file_is_read_in_part_only(tmp_path: Path) -> None:
    build(tmp_path, SOUND)
    for path in ("proc/cmdline", "proc/meminfo", NODE, f"{FOLDER}/mem_info_vram_total"):
        write(tmp_path, path, "9" * 3_000_000)
    found = take(tmp_path, seconds=20)
    assert found.complete
    assert max(map(len, found.texts.values())) == 64 << 10
    examine(tmp_path, environ={})


def test_a_sleeping_gpu_is_not_woken(tmp_path: Path) -> None:
    found = look(tmp_path, on(SOUND, status="suspended"))
    [gpu] = found.facts.gpus
    assert "wake" in str(gpu.values["busy_percent"])
    files = take(tmp_path, seconds=20)
    assert f"{FOLDER}/gpu_busy_percent" not in files.texts
    assert not [path for path in files.texts if "hwmon" in path]


def test_the_quick_look_does_not_ask_the_device(tmp_path: Path) -> None:
    build(tmp_path, SOUND)
    quick, full = (take(tmp_path, full=full, seconds=20) for full in (False, True))
    assert full.texts.keys() - quick.texts.keys() >= {f"{FOLDER}/gpu_busy_percent"}
    assert quick.complete


def test_nothing_of_the_current_folder_or_the_environment_is_imported(tmp_path: Path) -> None:
    """A json.py beside the person must not become the reader's."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    build(tmp_path / "root", SOUND)
    found = take(tmp_path / "root", seconds=20, environ={"PYTHONPATH": str(tmp_path)})
    assert found.complete


FILES = (
    *("proc/sys/kernel/osrelease", "proc/cmdline", "proc/meminfo", "dev/kmsg", NODE),
    *("opt/rocm/.info/version", "sys/module/amdgpu/version", "etc/os-release", "etc/hostname"),
    *(f"{FOLDER}/{name}" for name in ("class", "vendor", "device", "mem_info_gtt_total")),
    *(f"{FOLDER}/fw_version/mes_fw_version", f"{FOLDER}/power/runtime_status"),
    *("sys/module/amdgpu/parameters/cwsr_enable", "state/hangs/0.json"),
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
)
GARBAGE = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass")),
    st.from_regex(r"\A[-0-9xXa-fA-F. ]{0,40}\Z").map(str.encode),
    st.sampled_from(["folder", "loop", "absent"]),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(FILES), GARBAGE, min_size=1, max_size=6), st.data())
def test_whatever_is_in_the_files_there_is_an_answer(tmp_path, garbage, data) -> None:
    root = tmp_path / str(time.monotonic_ns())
    build(root, on(STRIX_HALO, dkms=True, rocm="7.1.1"))
    for path, content in garbage.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content == "folder":
            file.mkdir()
        elif content == "loop":
            file.symlink_to(file)
    values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    names = (
        "HSA_OVERRIDE_GFX_VERSION",
        "VK_DRIVER_FILES",
        "ROCR_VISIBLE_DEVICES",
        "HSA_ENABLE_SDMA",
    )
    environ = data.draw(st.dictionaries(st.sampled_from(names), values))
    found = examine(root, environ=environ, state=root / "state", seconds=20)
    assert isinstance(found, Examination)
    assert found.complete
    assert len(found.ruled_out) + len({f.rule.id for f in found.findings}) == 47
    said = [*report(found, knowledge(), [], verbose=True)]
    said += explain("no-blind-retry", knowledge(), found)
    assert all(line.isprintable() for line in map(clean, said))
    assert json.loads(json.dumps(as_json(found)))["schema"] == 1
    write_report(root / "r.tar.gz", found, [], environ, root)


def test_the_machine_that_runs_the_tests_has_an_answer(tmp_path: Path) -> None:
    found = examine(Path("/"), state=tmp_path)
    assert found.complete
    assert isinstance(found.facts.value("kernel"), tuple)
    assert found.facts.value("ram_total")


def test_the_reader_needs_no_site_packages() -> None:
    assert COMMAND[1:3] == ("-I", "-S")
    done = subprocess.run(
        [*COMMAND[:3], "-X", "importtime", COMMAND[3], "/nonexistent", "quick"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "numpy" not in done.stderr
    assert done.stdout.splitlines()[-1] == '["end"]'
