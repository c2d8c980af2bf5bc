"""The simulated ROCm is built once, and what it compiles is compiled once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .build import BuildError, built, environment, rocm_path
from .stage import play

_ROOT = Path(__file__).parents[2]


def test_processes_that_want_it_at_once_get_one_folder(tmp_path: Path) -> None:
    """A small pair of libraries stands for the large one: it is built as that is."""
    program = (
        "from pathlib import Path; from tests.hipsim.build import built; import sys; "
        "print(built(Path(sys.argv[1]), 'two', []))"
    )
    for part in ("driver", "compiler"):
        folder = tmp_path / "tests" / part
        folder.mkdir(parents=True)
        (folder / "one.cpp").write_text("int one() { return 1; }")
    command = [sys.executable, "-c", program, str(tmp_path / "tests")]
    env = {**os.environ, "HIPSIM_CACHE": str(tmp_path / "cache")}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=_ROOT, text=True)
        for _ in range(3)
    ]
    said = {process.communicate(timeout=50)[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    (folder,) = map(Path, said)
    assert sorted(each.name for each in (folder / "lib").iterdir()) == [
        "libamdhip64.so",
        "libhiprtc.so",
    ]
    left = [each.name for each in folder.parent.iterdir() if each.suffix != ".lock"]
    assert left == [folder.name]


def test_a_source_that_does_not_compile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIPSIM_CACHE", str(tmp_path / "cache"))
    for part in ("driver", "compiler"):
        (tmp_path / "tests" / part).mkdir(parents=True)
        (tmp_path / "tests" / part / "one.cpp").write_text("nonsense")
    with pytest.raises(BuildError, match="nonsense"):
        built(tmp_path / "tests", "bad", [])
    assert [each.suffix for each in (tmp_path / "cache" / "forge-hipsim").iterdir()] == [".lock"]


def test_an_environment_names_what_it_sets() -> None:
    found = environment(fault="hipMalloc=hang", late=2)
    assert found == {
        "ROCM_PATH": str(rocm_path()),
        "HIPSIM_FAULT": "hipMalloc=hang",
        "HIPSIM_LATE": "2",
    }


def test_a_kernel_is_compiled_once_for_all_processes() -> None:
    """A compiler that is not there is not missed by the second."""
    source = f"/* {os.getpid()} {os.urandom(8).hex()} */"
    first = play("lanes.compile_only", source=source)
    assert first.result > 1000, first.error
    with_what = {"cxx": "/nowhere/g++"}
    assert play("lanes.compile_only", with_what, source=source + " ").error.startswith("HIPRTC")
    again = play("lanes.compile_only", {"trace": "/dev/null"}, source=source)
    assert again.result == first.result


def test_undefined_behaviour_is_found_with_a_sanitizer() -> None:
    traps = "-fsanitize=alignment,shift -fsanitize-undefined-trap-on-error"
    assert play("lanes.misaligned").result == [0]
    found = play("lanes.misaligned", {"cxxflags": traps})
    assert found.error == "hipErrorLaunchFailure"
    assert "undefined behaviour in kernel odd" in found.said
