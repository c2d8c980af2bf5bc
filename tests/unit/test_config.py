"""The person's configuration: read with care, written without loss."""

from __future__ import annotations

import pytest

from forge.config import BackendSettings, read_config, set_env
from forge.errors import UsageError
from forge.spec import BackendSpec

HIP = BackendSpec("hip", "m:C", env={"A": "1", "B": "2"})


def test_no_file_is_no_configuration(tmp_path):
    assert read_config(tmp_path / "none.toml").of(HIP) == BackendSettings()


def test_variables_of_a_backend_are_added_to_its_own(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[backends.hip]\nproven = true\nenv = { B = "3", C = "4" }\n')
    config = read_config(path)
    assert config.of(HIP).proven
    assert config.applied(HIP).env == {"A": "1", "B": "3", "C": "4"}
    assert config.applied(BackendSpec("other", "m:C")).env == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[backend.hip]", "backend is not known"),
        ("backends = 3", "backends is no table"),
        ("[backends]\nhip = 3", "backends.hip is no table"),
        ("[backends.hip]\nproved = true", "backends.hip.proved is not known"),
        ("[backends.hip]\nproven = 1", "takes true or false"),
        ("[backends.hip]\nenv = [1]", "takes variables"),
        ("[backends.hip]\nenv = { A = 1 }", "backends.hip.env.A"),
        ('[backends.hip]\nenv = { "A=B" = "1" }', "env.A=B"),
        ('[backends.hip]\nenv = { A = "x\\u0000y" }', "env.A"),
        ("[backends.hip", "config.toml: "),
    ],
)
def test_what_is_wrong_is_named(text, words, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml") as caught:
        read_config(path)
    assert words in str(caught.value)


def test_a_setting_is_written_between_what_the_person_wrote(tmp_path):
    path = tmp_path / "new" / "config.toml"
    assert read_config(set_env("hip", {"X": "1"}, path)).of(HIP).env == {"X": "1"}
    path.write_text('# mine\n[backends.hip] # a card\nproven = true\nenv = { A = "1" } # why\n')
    set_env("hip", {"HSA_ENABLE_SDMA": "0"}, path)
    set_env("vulkan", {"Y": "2"}, path)
    text = path.read_text()
    assert text.startswith("# mine\n[backends.hip] # a card\nproven = true\n")
    assert "# why" in text
    config = read_config(path)
    assert config.of(HIP) == BackendSettings(True, {"A": "1", "HSA_ENABLE_SDMA": "0"})
    assert config.backends["vulkan"].env == {"Y": "2"}


def test_a_damaged_file_is_not_written(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[backends.hip")
    with pytest.raises(UsageError):
        set_env("hip", {"X": "1"}, path)
    assert path.read_text() == "[backends.hip"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_nests_without_end_is_named(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(UsageError, match=r"config\.toml"):
        read_config(path)


def test_a_configuration_that_is_a_link_stays_one(tmp_path):
    real, link = tmp_path / "real.toml", tmp_path / "config.toml"
    real.write_text("")
    link.symlink_to(real)
    set_env("hip", {"A": "1"}, link)
    assert link.is_symlink()
    assert read_config(real).backends["hip"].env == {"A": "1"}
