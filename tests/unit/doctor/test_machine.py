"""The machine's facts: releases of ROCm, the command line, Vulkan's drivers, Secure Boot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from forge.doctor import Unknown, start_effects
from forge.doctor.cmdline import graphics, ineffective, same

from .cases import SOUND, STRIX_HALO, on, says
from .trees import EFI, Machine, build, look, write

KNOWN = {"cwsr_enable", "runpm", "gttsize", "lockup_timeout", "ppfeaturemask"}


@pytest.mark.parametrize(
    ("arguments", "read", "wrong"),
    [
        ("amdgpu.cwsr_enable=0", {"cwsr_enable": "0"}, []),
        ("amdgpu.cwsr_enable=0", {"cwsr_enable": "1"}, ["amdgpu.cwsr_enable"]),
        ("amdgpu.cwsr_enable=1 amdgpu.cwsr_enable=0", {"cwsr_enable": "0"}, []),
        ("aamdgpu.cwsr_enable=0", {"cwsr_enable": "1"}, ["aamdgpu.cwsr_enable"]),
        ("amdgup.runpm=0", {"runpm": "-1"}, ["amdgup.runpm"]),
        ("amdgpu.cwsr_enabel=0", {"cwsr_enable": "1"}, ["amdgpu.cwsr_enabel"]),
        ("amdgpu.gttsize=65536", {}, []),
        ("amdgpu.ppfeaturemask=0xFFF", {"ppfeaturemask": "0xfff"}, []),
        ("amdgpu.ppfeaturemask=4095", {"ppfeaturemask": "0xfff"}, []),
        ("amdgpu.lockup_timeout=10000,60000", {"lockup_timeout": "10000"}, []),
        (
            "amdgpu.lockup_timeout=10000,60000",
            {"lockup_timeout": "1000"},
            ["amdgpu.lockup_timeout"],
        ),
        ("nvidia.modeset=1 i915.enable=1 root=UUID=1", {}, []),
        ("ttm.pages_limit=1", {}, []),
    ],
)
def test_a_parameter_without_effect_is_found(
    arguments: str, read: dict[str, str], wrong: list[str]
) -> None:
    assert ineffective(arguments, read, KNOWN) == wrong


def test_only_what_is_about_graphics_is_kept_of_the_command_line() -> None:
    words = "root=UUID=1 ip=10.0.0.7 amdgpu.runpm=0 iommu=pt ttm.pages_limit=9 luks.name=x quiet"
    assert graphics(words) == [("amdgpu.runpm", "0"), ("iommu", "pt"), ("ttm.pages_limit", "9")]


def test_a_flag_is_the_same_as_its_number() -> None:
    assert same("Y", "1")
    assert same("n", "0")
    assert not same("Y", "0")
    assert not same("1", "")


@pytest.mark.parametrize(
    ("rocm", "library", "release"),
    [
        ("7.2.1-43", "libamdhip64.so.7.2.70201", (7, 2, 1)),
        ("6.4.4", "libamdhip64.so.6.4.60404", (6, 4, 4)),
        ("7.10.0rc20251112", "libamdhip64.so.7", (7, 10, 0)),
        ("nonsense", "libamdhip64.so.7", "nonsense"),
    ],
)
def test_the_release_of_rocm_is_read(
    rocm: str, library: str, release: object, tmp_path: Path
) -> None:
    value = look(tmp_path, on(SOUND, rocm=rocm, library=library)).facts.values["rocm"]
    assert release in value.why if isinstance(value, Unknown) else value == release


def test_a_distributions_rocm_is_known_by_its_library(tmp_path: Path) -> None:
    write(tmp_path, "usr/lib/x86_64-linux-gnu/libamdhip64.so.5.7.31921", "")
    found = look(tmp_path, on(SOUND, rocm=None))
    assert found.facts.values["rocm"] == (5, 7)


def test_rocm_from_python_packages_is_known_by_their_version(tmp_path: Path) -> None:
    write(tmp_path, "venv/site/rocm_sdk_core-7.12.0a1.dist-info/METADATA", "")
    machine = on(STRIX_HALO, rocm=None)
    found = look(tmp_path, machine, python_path=["/venv/site", "relative", ""])
    assert found.facts.values["rocm"] == (7, 12, 0)


def test_no_rocm_is_known_as_well(tmp_path: Path) -> None:
    found = look(tmp_path, on(STRIX_HALO, rocm=None))
    assert found.facts.values["rocm"] is None
    assert "cwsr-half-fixed" in found.ruled_out


def test_a_library_path_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/libamdhip64.so.6.2.60204", "")
    found = look(tmp_path, on(SOUND, env={"LD_LIBRARY_PATH": "/elsewhere:/x"}))
    assert found.facts.values["rocm_mixed"] is True


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"", "damaged"), (b"\6\0\0\0\1\1", "damaged")],
)
def test_secure_boot_is_the_variables_fifth_byte(raw: bytes, value: object, tmp_path: Path) -> None:
    build(tmp_path / "m", SOUND)
    write(tmp_path / "m", EFI, raw)
    from forge.doctor import examine

    found = examine(tmp_path / "m", environ={}).facts.values["secure_boot"]
    assert str(value) in found.why if isinstance(found, Unknown) else found is value


def test_a_patch_release_of_the_library_is_no_mixture(tmp_path: Path) -> None:
    found = look(tmp_path, on(SOUND, rocm="7.2.1-43", library="libamdhip64.so.7.2.70200"))
    assert found.facts.values["rocm_mixed"] is False


def test_the_loaders_own_variables_choose_vulkans_drivers(tmp_path: Path) -> None:
    chosen = {"VK_DRIVER_FILES": "/usr/share/vulkan/icd.d/lvp_icd.json"}
    found = look(tmp_path, replace(SOUND, env=chosen))
    assert [f.rule.id for f in found.findings] == ["software-vulkan"]
    found = look(tmp_path / "none", replace(SOUND, icds=()))
    assert [(f.rule.id, f.certainty) for f in found.findings] == [("software-vulkan", "possible")]


def test_effects_at_a_start_are_those_of_certain_findings(tmp_path: Path) -> None:
    sick = on(STRIX_HALO, mes=0x83, **says("resume of IP block <psp> failed -62"))
    found = start_effects(build(tmp_path / "sick", sick))
    assert {(e.stack, e.action, e.rule) for e in found} == {
        ("rocm", "block", "mes-083-gfx115x"),
        ("rocm", "block", "device-lost-until-reboot"),
        ("vulkan", "block", "device-lost-until-reboot"),
        ("rocm", "block", "suspend-resume-failure"),
    }
    assert start_effects(build(tmp_path / "sound", Machine())) == []
    assert start_effects(tmp_path / "nothing") == []
