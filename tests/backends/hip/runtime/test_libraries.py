"""ROCm's libraries are found wherever a person may have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_hip.runtime import libraries


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_the_unversioned_name_comes_first(tmp_path: Path) -> None:
    lib = put(tmp_path / "opt/rocm/lib", "libamdhip64.so.7", "libamdhip64.so")
    assert libraries.find("amdhip64", {}, str(tmp_path)) == str(lib / "libamdhip64.so")


def test_of_versioned_names_the_highest_is_taken_as_people_count(tmp_path: Path) -> None:
    names = ("libamdhip64.so.6", "libamdhip64.so.10", "libamdhip64.so.7.1.2")
    lib = put(tmp_path / "usr/lib/x86_64-linux-gnu", *names)
    assert libraries.find("amdhip64", {}, str(tmp_path)) == str(lib / "libamdhip64.so.10")


@pytest.mark.parametrize("variable", ["ROCM_PATH", "ROCM_HOME"])
def test_what_the_person_says_comes_before_the_system(tmp_path: Path, variable: str) -> None:
    put(tmp_path / "opt/rocm/lib", "libamdhip64.so")
    own = put(tmp_path / "own/lib", "libamdhip64.so.7")
    environ = {variable: str(tmp_path / "own")}
    assert libraries.find("amdhip64", environ, str(tmp_path)) == str(own / "libamdhip64.so.7")


def test_a_wheels_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "venv/lib/python3/site-packages"
    lib = put(site / "_rocm_sdk_core/lib", "libamdhip64.so.7")
    monkeypatch.setattr("sys.path", [str(site)])
    assert libraries.find("amdhip64", {}, str(tmp_path)) == str(lib / "libamdhip64.so.7")


def test_condas_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lib = put(tmp_path / "env/lib", "libamdhip64.so.6")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "env"))
    assert libraries.find("amdhip64", {}, str(tmp_path)) == str(lib / "libamdhip64.so.6")


def test_a_release_of_its_own_folder_is_found_and_the_newest_of_two(tmp_path: Path) -> None:
    put(tmp_path / "opt/rocm-6.4.0/lib", "libamdhip64.so.6")
    new = put(tmp_path / "opt/rocm-10.0.0/lib", "libamdhip64.so.7")
    assert libraries.find("amdhip64", {}, str(tmp_path)) == str(new / "libamdhip64.so.7")


def test_hiprtc_is_taken_from_the_folder_of_hip(tmp_path: Path) -> None:
    put(tmp_path / "opt/rocm/lib", "libhiprtc.so")
    put(tmp_path / "usr/lib64", "libamdhip64.so.6", "libhiprtc.so.6")
    hip, hiprtc = libraries.pair({}, str(tmp_path))
    assert (Path(hip).parent, Path(hiprtc).name) == (tmp_path / "usr/lib64", "libhiprtc.so.6")


def test_hip_of_rocm_5_stands_for_hiprtc_as_well(tmp_path: Path) -> None:
    put(tmp_path / "usr/lib/x86_64-linux-gnu", "libamdhip64.so.5.2.21153", "libhiprtc.so.6")
    hip, hiprtc = libraries.pair({}, str(tmp_path))
    assert hip == hiprtc


def test_a_machine_without_rocm_has_no_path(tmp_path: Path) -> None:
    assert libraries.pair({}, str(tmp_path)) == ("", "")


def test_a_link_that_leads_nowhere_is_no_library(tmp_path: Path) -> None:
    lib = put(tmp_path / "opt/rocm/lib")
    (lib / "libamdhip64.so").symlink_to("gone.so.7")
    (lib / "libamdhip64.so.7").symlink_to("gone.so.7")
    assert libraries.find("amdhip64", {}, str(tmp_path)) == ""
