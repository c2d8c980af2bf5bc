"""Every kernel is compiled for real GPUs: what it takes of them, and the instructions it is of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forge_hip import targets, variants
from forge_hip.code_objects import NotACodeObject, resources

FAMILIES = "gfx1030", "gfx1100", "gfx1201"
SIBLINGS = tuple(each for each in targets.TARGETS if each not in FAMILIES)
TYPES = ("q4_k", "f16")


@pytest.fixture(scope="module")
def tools() -> targets.Compiler:
    try:
        return targets.compiler()
    except targets.TargetsError as error:
        pytest.skip(str(error))


def faults(built: list[targets.Built]) -> list[str]:
    assert built
    return [fault for each in built for fault in each.faults()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("arch", FAMILIES)
def test_every_kernel_is_as_its_file_says(
    tools: targets.Compiler, tmp_path: Path, arch: str
) -> None:
    built = targets.build(tmp_path, [arch], types=TYPES)
    assert faults(built) == []
    assert {each.unit.partition(".")[0] for each in built} == {
        name
        for name, kernel in variants.kernels().items()
        if all(targets.has(arch, each) for each in kernel.needs)
    }


@pytest.mark.timeout(300)
def test_other_cards_of_a_family_compile_what_matters_most(
    tools: targets.Compiler, tmp_path: Path
) -> None:
    built = targets.build(tmp_path, SIBLINGS, ["matvec", "gemm", "tiles"], ["q4_k"])
    assert faults(built) == []
    assert {each.arch for each in built} == {*SIBLINGS}


@pytest.mark.timeout(120)
def test_the_command_writes_code_objects_and_a_report(
    tools: targets.Compiler, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "forge_hip.targets", "--arch", "gfx1100,gfx1010"),
            *("--kernel", "greedy,select_rows", "--out", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert {(each["unit"], each["target"], each["wave"]) for each in report["kernels"]} == {
        (name, arch, 32) for name in ("greedy", "select_rows") for arch in ("gfx1100", "gfx1010")
    }
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written[:2] == ["greedy.gfx1010.co", "greedy.gfx1100.co"]
    (found,) = resources((tmp_path / "greedy.gfx1100.co").read_bytes())
    assert (found.kernel, found.threads) == ("greedy_256_1", 256)
    assert found.arguments == 4 * 8 + 16


def test_a_kernel_that_takes_too_much_is_told(tools: targets.Compiler, tmp_path: Path) -> None:
    (greedy,) = targets.build(tmp_path, ["gfx1100"], ["greedy"])
    taken = [
        targets.Resources(**{**targets.asdict(each), "spills": 3, "vgpr": 300, "wave": 64})
        for each in greedy.kernels
    ]
    found = list(targets.Built("greedy", "gfx1100", taken, "").faults())
    assert len(found) == 3
    assert "spills 3, allowed is 0" in found[0]
    slow = targets.Built("matvec.TYPE=q4_k", "gfx1100", [], "s_endpgm")
    assert list(slow.faults()) == ["matvec.TYPE=q4_k on gfx1100: no v_dot4 in it"]


def test_bytes_that_are_no_code_object_are_refused(tools: targets.Compiler, tmp_path: Path) -> None:
    targets.build(tmp_path, ["gfx1100"], ["select_rows"])
    whole = (tmp_path / "select_rows.gfx1100.co").read_bytes()
    for damaged in (b"", b"HIPSIM", whole[:100], whole[:18] + b"\x3e\0" + whole[20:]):
        with pytest.raises(NotACodeObject):
            resources(damaged)
    notes = whole.index(b"amdhsa.kernels")
    with pytest.raises(NotACodeObject):
        resources(whole[: notes - 1] + b"\xff" * 200)


def test_without_a_compiler_the_command_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if targets.find_spec("ziglang"):
        pytest.skip("ziglang is installed, which serves as one")
    with pytest.raises(targets.TargetsError, match=r"apt-get install .* clang-19 lld-19"):
        targets.compiler()
