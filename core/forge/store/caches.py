"""Models that forge and other programs have already fetched. Their folders are read, never written.

Layouts, as their programs document or write them:
  Hugging Face  HUB/models--USER--REPO/snapshots/COMMIT/FILE, HUB/models--USER--REPO/refs/main
  Ollama        MODELS/manifests/HOST/NAMESPACE/NAME/TAG (JSON) -> MODELS/blobs/sha256-HEX
  LM Studio     MODELS/PUBLISHER/REPO/FILE.gguf; its home is named in ~/.lmstudio-home-pointer
  llama.cpp     CACHE/FILE.gguf; newer versions use the Hugging Face layout, also under LLAMA_CACHE
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from forge.store import walk
from forge.store.disk import models_dir
from forge.store.split import ModelFiles
from forge.store.types import InstalledModel, Source
from forge.store.wheel import WHEEL_MODELS

_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
REPO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")


def installed() -> list[InstalledModel]:
    """Every complete model that can be found, forge's own first; a file is listed once."""
    found: dict[tuple[int, int], InstalledModel] = {}
    for model in chain(_forge(), _hugging_face(), _ollama(), _lm_studio(), _llama_cpp()):
        try:
            status = model.path.stat()
        except OSError:
            continue
        found.setdefault((status.st_dev, status.st_ino), model)
    return list(found.values())


def hub_caches() -> list[Path]:
    """The Hugging Face caches to read, by huggingface_hub's and llama.cpp's variables."""
    hub = _variable("HF_HUB_CACHE") or _variable("HUGGINGFACE_HUB_CACHE")
    if hub is None:
        home = _variable("HF_HOME") or _user_cache() / "huggingface"
        hub = home / "hub"
    return _distinct([hub, _variable("LLAMA_CACHE")])


def hub_snapshots(hub: Path, repo: str) -> list[Path]:
    """The folders of one repository's cached revisions, the one `main` points to first."""
    folder = hub / f"models--{repo.replace('/', '--')}"
    commits = [name for name in walk.folders(folder / "snapshots") if _COMMIT.fullmatch(name)]
    main = walk.read_text(folder / "refs" / "main").strip()
    commits.sort(key=lambda commit: commit != main)
    return [folder / "snapshots" / commit for commit in commits]


def _forge() -> Iterator[InstalledModel]:
    root = models_dir()
    short_names = {model.file: model.name for model in WHEEL_MODELS}
    for model, size in walk.models(root, depth=0):
        name = short_names.get(model.first, model.stem)
        yield InstalledModel(name, root / model.first, size, "forge")


def _hugging_face() -> Iterator[InstalledModel]:
    for hub in hub_caches():
        for folder in walk.folders(hub):
            repo = folder.removeprefix("models--").replace("--", "/")
            if folder.startswith("models--") and REPO.fullmatch(repo):
                yield from _hub_repo(hub, repo)


def _hub_repo(hub: Path, repo: str) -> Iterator[InstalledModel]:
    seen: set[str] = set()
    for snapshot in hub_snapshots(hub, repo):
        models = walk.models(snapshot, depth=3)
        tags = [model.tag for model, _ in models]
        for model, size in models:
            if model.first not in seen:
                seen.add(model.first)
                # Where two files share a quantisation, only the file's name tells them apart.
                unique = model.tag is not None and tags.count(model.tag) == 1
                name = f"hf:{repo}:{model.tag if unique else model.first}"
                yield InstalledModel(name, snapshot / model.first, size, "hugging face")


def _ollama() -> Iterator[InstalledModel]:
    homes = [
        _variable("OLLAMA_MODELS"),
        Path.home() / ".ollama" / "models",
        Path("/usr/share/ollama/.ollama/models"),  # where its Linux installer's service keeps them
    ]
    for home in _distinct(homes):
        for manifest in sorted(walk.files(home / "manifests", depth=3)):
            pieces = manifest.split("/")
            if len(pieces) == 4 and (blob := _ollama_blob(home, manifest)):
                yield InstalledModel(_ollama_name(*pieces), *blob, "ollama")


def _ollama_name(host: str, namespace: str, name: str, tag: str) -> str:
    """The name that Ollama shows: its registry and the namespace `library` are implied."""
    if host != "registry.ollama.ai":
        return f"{host}/{namespace}/{name}:{tag}"
    return f"{name}:{tag}" if namespace == "library" else f"{namespace}/{name}:{tag}"


def _ollama_blob(home: Path, manifest: str) -> tuple[Path, int] | None:
    layers = walk.read_json(home / "manifests" / manifest).get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("mediaType") == _OLLAMA_MODEL:
            digest = _DIGEST.fullmatch(str(layer.get("digest")))
            if digest is None:
                return None
            blob = home / "blobs" / f"sha256-{digest[1]}"
            size = walk.gguf_bytes([blob])
            # Ollama writes the manifest last; a blob of another length was cut off since.
            return (blob, size) if size and size == layer.get("size", size) else None
    return None


def _lm_studio() -> Iterator[InstalledModel]:
    pointer = walk.read_text(Path.home() / ".lmstudio-home-pointer").strip()
    homes = [
        Path(pointer) if pointer and "\0" not in pointer else None,
        Path.home() / ".lmstudio",
        Path.home() / ".cache" / "lm-studio",
    ]
    roots: list[Path | None] = []
    for home in _distinct(homes):
        moved = walk.read_json(home / "settings.json").get("downloadsFolder")
        if isinstance(moved, str) and moved and "\0" not in moved:
            roots.append(Path(moved).expanduser())
        roots.append(home / "models")
    for root in _distinct(roots):
        yield from _named_by_file(root, walk.models(root, depth=3), "lm studio")


def _llama_cpp() -> Iterator[InstalledModel]:
    for root in _distinct([_variable("LLAMA_CACHE"), _user_cache() / "llama.cpp"]):
        yield from _named_by_file(root, walk.models(root, depth=0), "llama.cpp")


def _named_by_file(
    root: Path, models: list[tuple[ModelFiles, int]], source: Source
) -> Iterator[InstalledModel]:
    for model, size in models:
        yield InstalledModel(model.stem, root / model.first, size, source)


def _variable(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(os.path.expandvars(value)).expanduser() if value else None


def _user_cache() -> Path:
    return _variable("XDG_CACHE_HOME") or Path.home() / ".cache"


def _distinct(paths: Iterable[Path | None]) -> list[Path]:
    return list(dict.fromkeys(path for path in paths if path is not None))
