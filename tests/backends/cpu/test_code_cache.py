"""Compiled code is kept, found again without the compiler, and never trusted when damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forge.backend import BackendUnavailable
from forge_cpu.cache import CodeCache
from forge_cpu.cores import default_threads
from forge_cpu.isa import Isa, current, host_features
from forge_cpu.library import CannotCompile, Library


def test_code_is_compiled_once_and_then_read(folder: Path) -> None:
    seen: list[tuple[str, int, int, str]] = []
    first = Library(Isa.GENERIC, CodeCache(folder))
    first.prepare(
        ["trial.total", "trial.fill", "trial.total"],
        lambda phase, done, total, detail="": seen.append((phase, done, total, detail)),
    )
    assert seen == [
        ("compile", 0, 2, ""),
        ("compile", 1, 2, "trial.fill"),
        ("compile", 2, 2, "trial.total"),
    ]
    Library(Isa.GENERIC, CodeCache(folder)).prepare(
        ["trial.total"], lambda *beat: seen.append(beat)
    )
    assert len(seen) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["trial.fill.o", "trial.total.o"]
    assert folder.stat().st_mode & 0o77 == 0


def test_cached_code_needs_no_compiler(folder: Path) -> None:
    Library(current(), CodeCache(folder)).address("trial.fill")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from forge_cpu.cache import CodeCache\n"
        "from forge_cpu.isa import current\n"
        "from forge_cpu.library import Library\n"
        f"assert Library(current(), CodeCache(Path({str(folder)!r}))).address('trial.fill')\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script], check=True, timeout=30)


def test_damaged_code_is_compiled_anew(folder: Path) -> None:
    cache = CodeCache(folder)
    Library(Isa.GENERIC, cache).address("trial.fill")
    entry = folder / "trial.fill.o"
    good = entry.read_bytes()
    entry.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert cache.load("trial.fill") is None
    assert Library(Isa.GENERIC, cache).address("trial.fill")
    assert cache.load("trial.fill") is not None


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert Library(Isa.GENERIC, CodeCache(tmp_path / "code")).address("trial.fill")


def test_a_file_in_place_of_the_folder_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("in the way")
    assert Library(Isa.GENERIC, CodeCache(tmp_path / "code")).address("trial.fill")


def test_what_is_no_kernel_is_named(folder: Path) -> None:
    with pytest.raises(CannotCompile, match=r"pointers\.f32 is .*, not a kernel"):
        Library(Isa.GENERIC, CodeCache(folder)).address("pointers.f32")


def test_an_instruction_set_can_be_chosen_down_but_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORGE_CPU_ISA", raising=False)
    best = current()
    monkeypatch.setenv("FORGE_CPU_ISA", "generic")
    assert current() is Isa.GENERIC
    monkeypatch.setenv("FORGE_CPU_ISA", "sse9")
    with pytest.raises(BackendUnavailable, match="avx512vnni"):
        current()
    if not host_features().get("avx2"):
        assert best is Isa.GENERIC
        monkeypatch.setenv("FORGE_CPU_ISA", "avx2")
        with pytest.raises(BackendUnavailable, match="this processor offers generic"):
            current()


def test_threads_are_physical_cores_within_the_quota(tmp_path: Path) -> None:
    cpus, cgroup = tmp_path / "cpu", tmp_path / "cgroup"
    allowed = sorted(os.sched_getaffinity(0))
    for cpu in allowed:  # all of them siblings on one core
        (cpus / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text("0-99\n")
    assert default_threads(cpus, cgroup) == 1
    assert default_threads(tmp_path / "none", cgroup) == len(allowed)
    cgroup.mkdir()
    (cgroup / "cpu.max").write_text("150000 100000\n")
    assert default_threads(tmp_path / "none", cgroup) == 1
    (cgroup / "cpu.max").write_text("max 100000\n")
    assert default_threads(tmp_path / "none", cgroup) == len(allowed)
