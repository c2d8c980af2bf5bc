"""Models that other programs have fetched, in the layouts that those programs write."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from forge.store import InstalledModel, installed, walk
from forge.store.walk import files

GGUF = b"GGUF" + bytes(96)
COMMIT, OLDER = "a" * 40, "b" * 40
MODEL = "application/vnd.ollama.image.model"


def put(path: Path, content: bytes | str = GGUF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def put_hub(hub: Path, repo: str, file: str, commit: str = COMMIT) -> Path:
    """A file as huggingface_hub enters it: a blob, and a link in a snapshot."""
    folder = hub / f"models--{repo.replace('/', '--')}"
    link = folder / "snapshots" / commit / file
    blob = put(folder / "blobs" / f"{abs(hash((file, commit))):064x}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    put(folder / "refs" / "main", COMMIT)
    return link


def put_ollama(models: Path, name: str, blob: str = "c" * 64, **layer: object) -> Path:
    """A manifest and its blob; `layer` overrides fields of the model's layer."""
    template = {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:x"}
    entry = {"mediaType": MODEL, "digest": f"sha256:{blob}", "size": len(GGUF)} | layer
    put(models / "manifests" / name, json.dumps({"layers": [template, entry]}))
    return put(models / "blobs" / f"sha256-{blob}")


def names() -> list[str]:
    return [model.name for model in installed()]


def test_a_machine_without_models_lists_none() -> None:
    assert installed() == []


def test_forge_lists_its_own_models_by_their_short_names(tmp_path: Path) -> None:
    default = put(tmp_path / "forge/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    other = put(tmp_path / "forge/models/mine.gguf")
    put(tmp_path / "forge/models/.mine.gguf.part-x/mine.gguf")

    assert installed() == [
        InstalledModel("smollm2:135m", default, 100, "forge"),
        InstalledModel("mine", other, 100, "forge"),
    ]


def test_the_hugging_face_cache_is_listed_by_repository_and_quantisation(home: Path) -> None:
    hub = home / ".cache/huggingface/hub"
    path = put_hub(hub, "org/Tiny-GGUF", "tiny-Q8_0.gguf")
    put_hub(hub, "org/Tiny-GGUF", "tiny-Q8_0.gguf", commit=OLDER)
    put_hub(hub, "org/Tiny-GGUF", "mmproj-F16.gguf")
    for part in (1, 2):
        put_hub(hub, "org/Tiny-GGUF", f"F16/tiny-F16-{part:05}-of-00002.gguf")
    put_hub(hub, "org/Tiny-GGUF", "half-Q4_0-00001-of-00002.gguf")
    put_hub(hub, "org/Two", "a-Q8_0.gguf")
    put_hub(hub, "org/Two", "b-Q8_0.gguf")

    listed = {model.name: model for model in installed()}

    assert listed["hf:org/Tiny-GGUF:Q8_0"].path == path
    assert listed["hf:org/Tiny-GGUF:F16"].bytes == 200
    assert set(listed) == {
        "hf:org/Tiny-GGUF:Q8_0",
        "hf:org/Tiny-GGUF:F16",
        "hf:org/Two:a-Q8_0.gguf",
        "hf:org/Two:b-Q8_0.gguf",
    }


@pytest.mark.parametrize(
    ("variable", "folder", "hub"),
    [
        ("HF_HOME", "x", "x/hub"),
        ("HF_HUB_CACHE", "x", "x"),
        ("HUGGINGFACE_HUB_CACHE", "x", "x"),
        ("XDG_CACHE_HOME", "x", "x/huggingface/hub"),
        ("LLAMA_CACHE", "x", "x"),
    ],
)
def test_the_hub_cache_is_found_where_its_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str, hub: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / folder))
    put_hub(tmp_path / hub, "org/Tiny-GGUF", "tiny-Q8_0.gguf")

    assert names() == ["hf:org/Tiny-GGUF:Q8_0"]


def test_ollama_models_carry_the_names_that_ollama_shows(home: Path) -> None:
    models = home / ".ollama/models"
    blob = put_ollama(models, "registry.ollama.ai/library/llama3.2/1b")
    put_ollama(models, "registry.ollama.ai/someone/tuned/latest", "d" * 64)
    put_ollama(models, "hf.co/org/Tiny-GGUF/Q8_0", "e" * 64)

    assert InstalledModel("llama3.2:1b", blob, 100, "ollama") in installed()
    assert set(names()) == {"llama3.2:1b", "someone/tuned:latest", "hf.co/org/Tiny-GGUF:Q8_0"}


def test_ollama_manifests_that_lie_are_left_out(home: Path, tmp_path: Path) -> None:
    models = home / ".ollama/models"
    library = "registry.ollama.ai/library"
    put(tmp_path / "secret.gguf")
    put_ollama(models, f"{library}/up/1", "1" * 64, digest="sha256:../../secret.gguf")
    put_ollama(models, f"{library}/cut/1", "2" * 64, size=10**9)
    put_ollama(models, f"{library}/noblob/1", "3" * 64).unlink()
    put_ollama(models, f"{library}/notgguf/1", "4" * 64).write_bytes(b"PK" + bytes(98))
    put(models / f"manifests/{library}/list/1", "[]")
    put(models / f"manifests/{library}/layers/1", '{"layers": {"mediaType": 1}}')
    put(models / f"manifests/{library}/deep/1", "[" * 100_000)
    put(models / f"manifests/{library}/binary/1", b"\xff\x00")
    put(models / f"manifests/{library}/huge/1", '{"layers": [' + " " * (1 << 20) + "]}")
    os.mkfifo(models / f"manifests/{library}/pipe")

    assert names() == []


def test_ollama_in_a_folder_of_its_own_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "big disk"))
    put_ollama(tmp_path / "big disk", "registry.ollama.ai/library/qwen3/latest")

    assert names() == ["qwen3:latest"]


@pytest.mark.parametrize("place", [".lmstudio/models", ".cache/lm-studio/models", "moved"])
def test_lm_studio_models_are_found_wherever_it_keeps_them(home: Path, place: str) -> None:
    path = put(home / place / "infra-ai/ocelot-v1/ocelot-v1-q4_0.gguf")
    if place == "moved":
        put(home / ".lmstudio-home-pointer", f"{home / 'lms'}\n")
        put(home / "lms/settings.json", json.dumps({"downloadsFolder": str(home / "moved")}))

    assert installed() == [InstalledModel("ocelot-v1-q4_0", path, 100, "lm studio")]


def test_llama_cpp_downloads_are_found(home: Path) -> None:
    path = put(home / ".cache/llama.cpp/org_Tiny-GGUF_tiny-Q8_0.gguf")
    put(home / ".cache/llama.cpp/org_Tiny-GGUF_tiny-F16.gguf.downloadInProgress")
    put(home / ".cache/llama.cpp/manifest=org=Tiny-GGUF=latest.json", "{}")

    assert installed() == [InstalledModel("org_Tiny-GGUF_tiny-Q8_0", path, 100, "llama.cpp")]


def test_a_file_that_two_programs_share_is_listed_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(home / ".lmstudio/models/org/repo/shared.gguf")
    (home / ".cache/llama.cpp").mkdir(parents=True)
    (home / ".cache/llama.cpp/linked.gguf").symlink_to(path)

    assert names() == ["shared"]


def test_broken_entries_hide_nothing_else(home: Path) -> None:
    hub = home / ".cache/huggingface/hub"
    put_hub(hub, "org/Good", "good-Q8_0.gguf")
    put_hub(hub, "org/Gone", "gone-Q8_0.gguf").resolve().unlink()
    put_hub(hub, "org/NotGGUF", "bad-Q8_0.gguf").write_bytes(b"<html>")
    put_hub(hub, "org/..", "up-Q8_0.gguf")
    put(hub / "models--org--File", b"no folder")
    (hub / "models--org--Loop").symlink_to(".")
    put(home / ".lmstudio-home-pointer", b"\x00\xff")

    assert names() == ["hf:org/Good:Q8_0"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_passed_over(home: Path) -> None:
    put_ollama(home / ".ollama/models", "registry.ollama.ai/library/a/1")
    folder = home / ".ollama"
    folder.chmod(0)
    try:
        assert names() == []
    finally:
        folder.chmod(stat.S_IRWXU)


def test_a_walk_ends_in_a_tree_of_links_to_itself(tmp_path: Path) -> None:
    put(tmp_path / "a.gguf")
    for name in "xyz":
        (tmp_path / name).symlink_to(tmp_path)

    assert len(list(files(tmp_path, depth=3))) == 1 + 3 + 9 + 27
    assert len(list(files(tmp_path, depth=30))) < walk._MOST_ENTRIES


def test_other_programs_folders_stay_as_they_were(home: Path) -> None:
    put_hub(home / ".cache/huggingface/hub", "org/Tiny-GGUF", "tiny-Q8_0.gguf")
    put_ollama(home / ".ollama/models", "registry.ollama.ai/library/a/1")
    put(home / ".lmstudio/models/org/repo/x.gguf")
    before = sorted((path, path.lstat().st_mtime_ns) for path in home.rglob("*"))

    assert len(installed()) == 3

    assert sorted((path, path.lstat().st_mtime_ns) for path in home.rglob("*")) == before
