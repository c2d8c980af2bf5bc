"""From what a person types to a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forge.errors import ModelNotFound, StoreError, UsageError
from forge.store import DEFAULT_MODEL, pull, resolve
from forge.store.text import printable, size

GGUF = b"GGUF" + bytes(96)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(GGUF)
    return path


def put_default(tmp_path: Path) -> Path:
    """A stand-in of the right length: the store trusts what it once verified and renamed."""
    path = put(tmp_path / "forge/models" / DEFAULT_MODEL.file)
    os.truncate(path, DEFAULT_MODEL.bytes)
    return path


def test_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "x.gguf")
    odd = put(tmp_path / "smollm2")
    monkeypatch.chdir(tmp_path)

    assert resolve(str(path)) == path
    assert resolve("x.gguf") == Path("x.gguf")
    assert resolve("./smollm2") == Path("smollm2")
    assert resolve("smollm2") == Path(odd.name)
    assert pull(str(path)) == path


def test_a_path_may_begin_with_the_home_folder(home: Path) -> None:
    path = put(home / "x.gguf")

    assert resolve("~/x.gguf") == path


def test_any_part_of_a_split_set_means_its_first(tmp_path: Path) -> None:
    whole = [put(tmp_path / f"m-{i:05}-of-00003.gguf") for i in (1, 2, 3)]

    assert [resolve(str(part)) for part in whole] == [whole[0]] * 3

    whole[1].unlink()
    with pytest.raises(ModelNotFound, match=r"one part of 3; missing: m-00002-of-00003\.gguf"):
        resolve(str(whole[2]))


@pytest.mark.parametrize("name", [None, "smollm2", "SmolLM2:135M", "smollm2-135m-instruct"])
def test_the_default_model_has_short_names(tmp_path: Path, name: str | None) -> None:
    path = put_default(tmp_path)

    assert resolve(name, offline=True) == path


def test_a_folder_named_as_a_model_hides_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smollm2").mkdir()
    path = put_default(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert resolve("smollm2") == path


def test_offline_the_default_model_is_not_fetched() -> None:
    with pytest.raises(StoreError, match=r"stay offline\nfetch it while connected: forge pull"):
        resolve(None, offline=True)


def test_an_installed_model_answers_to_its_name_in_any_case(home: Path) -> None:
    path = put(home / ".lmstudio/models/org/repo/Ocelot-v1-Q4_0.gguf")

    for name in ("Ocelot-v1-Q4_0", "ocelot-v1-q4_0", "ocelot-v1-q4_0.gguf"):
        assert resolve(name) == path


def test_an_ambiguous_name_lists_the_candidates(home: Path) -> None:
    one = put(home / ".lmstudio/models/org/repo/tiny.gguf")
    two = put(home / ".cache/llama.cpp/tiny.gguf")

    with pytest.raises(UsageError) as caught:
        resolve("tiny")

    assert f"{one} (lm studio)" in str(caught.value)
    assert f"{two} (llama.cpp)" in str(caught.value)


def test_an_unknown_name_is_answered_with_near_ones(home: Path) -> None:
    put(home / ".lmstudio/models/org/repo/Ocelot-v1.gguf")

    with pytest.raises(ModelNotFound, match=r"(?s)unknown model ocelot\n.*Ocelot-v1.*hf:user/repo"):
        resolve("ocelot")
    with pytest.raises(ModelNotFound, match="did you mean smollm2"):
        resolve("smolm2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{tmp}", "is a folder, not a model"),
        ("{tmp}/none.gguf", r"none\.gguf: no such file"),
        ("{tmp}/none", r"none: no such file"),
        ("none.gguf", r"none\.gguf: no such file"),
        ("/dev/null", "no regular file"),
        ("{tmp}/dangling", "a link to nothing"),
        ("https://example.org/x", "is an address"),
        ("user/repo", "hf:user/repo would fetch it from the Hub"),
        ("a\x1b]0;b\n", r"unknown model a\\x1b\]0;b\\n"),
        ("x" * 5000, "unknown model"),
    ],
)
def test_what_is_no_model_is_said_clearly(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")

    with pytest.raises(ModelNotFound, match=words):
        resolve(name.format(tmp=tmp_path))


@pytest.mark.parametrize(
    "name",
    ["", "\0", "hf:", "hf:user", "hf:../x", "hf:user/..", "hf:a/b/c", "hf:a/b:../c", "hf:a--b/c"],
)
def test_what_is_no_name_at_all_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        resolve(name)


def test_sizes_and_names_print_safely() -> None:
    assert [size(n) for n in (0, 999, 1000, 98_362_432, 10**12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "98.4 MB",
        "1.0 TB",
    ]
    assert printable("é\x1b[2J\n\u202egguf\udcff") == "é\\x1b[2J\\n\\u202egguf\\udcff"
