"""Where the state lies."""

import stat

import pytest

from forge.state import records_folder, state_folder


def test_the_folder_is_the_one_that_is_named_and_its_owners_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FORGE_STATE", str(tmp_path / "a" / "b"))
    assert state_folder() == tmp_path / "a" / "b"
    assert records_folder() == tmp_path / "a" / "b" / "hangs"
    for folder in (state_folder(), records_folder()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_relative_name_means_the_current_folder_for_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORGE_STATE", "here")
    assert state_folder() == tmp_path / "here"


def test_by_default_it_is_the_users_state_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FORGE_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in state_folder().parents


def test_a_file_in_its_place_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FORGE_STATE", str(tmp_path / "file"))
    with pytest.raises(OSError):
        state_folder()
