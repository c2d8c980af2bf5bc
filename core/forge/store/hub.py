"""`hf:user/repo[:QUANT]`: which files a Hugging Face repository holds, and where they lie here.

huggingface_hub knows the Hub: endpoint, token, cache folder, offline switch (HF_ENDPOINT,
HF_TOKEN, HF_HOME, HF_HUB_OFFLINE). It is imported late: that takes longer than all of forge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from forge.errors import ForgeError, ModelNotFound, StoreError, UsageError
from forge.store import disk, walk
from forge.store.caches import REPO, hub_caches, hub_snapshots
from forge.store.pick import PREFERRED, pick, safe
from forge.store.split import ModelFiles
from forge.store.text import printable
from forge.store.types import Report

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository on the Hub, and a quantisation or file name in it."""

    repo: str
    wanted: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.wanted}" if self.wanted else f"hf:{self.repo}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file to fetch; `sha256` is None where the Hub does not tell (a small file, a mirror)."""

    repo: str
    commit: str
    name: str
    size: int | None
    sha256: str | None


def parse(name: str) -> HubName:
    """Read `hf:user/repo[:QUANT]`."""
    repo, _, wanted = name.removeprefix("hf:").partition(":")
    if not REPO.fullmatch(repo) or ".." in repo or "--" in repo or (wanted and not safe(wanted)):
        raise UsageError(
            f"{printable(name)} is no Hub name: write hf:user/repo or hf:user/repo:QUANT, "
            "e.g. hf:Qwen/Qwen3-0.6B-GGUF:Q8_0"
        )
    return HubName(repo, wanted or None)


def find(name: HubName, report: Report, *, offline: bool) -> Path:
    """The model's path: cached, if it is certain what is meant or nobody can be asked."""
    here = _cached(name)
    if here is not None:
        path, model = here
        # Only the first choice, or the very file asked for, is right whatever else the Hub holds.
        exact = (model.tag or "", model.first, model.first.rsplit("/", 1)[-1])
        if offline or (name.wanted or PREFERRED[0]).lower() in (word.lower() for word in exact):
            return path
    if offline:
        raise StoreError(
            f"{name} is not on this machine, and forge is told to stay offline\n"
            f"fetch it while connected: forge pull {name}"
        )
    try:
        return fetch(name, report)
    except (StoreError, ModelNotFound):
        if here is not None:
            return here[0]
        raise


def fetch(name: HubName, report: Report) -> Path:
    """Ask the Hub, download what is missing, verify it; the path in the shared cache."""
    from forge.store.transfer import fetch_files  # imports huggingface_hub

    with hub_errors(name.repo):
        info = _info(name.repo)
    siblings = {file.rfilename: file for file in info.siblings or []}
    model = pick(name.repo, siblings, name.wanted)
    commit = info.sha or ""
    if not _COMMIT.fullmatch(commit):
        raise StoreError(f"hf:{name.repo}: the Hub's answer names no commit; try again later")
    files = []
    for file in model.files:
        lfs = siblings[file].lfs
        sha256 = lfs.sha256 if lfs and _SHA256.fullmatch(str(lfs.sha256)) else None
        files.append(HubFile(name.repo, commit, file, siblings[file].size, sha256))
    with hub_errors(name.repo):
        return fetch_files(str(name), files, report)


def transport_error() -> type[Exception]:
    """The base of all that fails on the way: httpx's in huggingface_hub 1, httpx2's in 2."""
    from huggingface_hub.errors import HfHubHTTPError  # slow to import

    return cast("type[Exception]", HfHubHTTPError.__bases__[0])


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turn what huggingface_hub raises inside the block into one clear error."""
    from huggingface_hub import errors  # slow to import

    try:
        yield
    except ForgeError:
        raise
    except errors.GatedRepoError as error:
        raise StoreError(
            f"hf:{repo} is gated: its authors ask you to accept their terms on its page\n"
            "then log in with `hf auth login`, or set HF_TOKEN, and try again"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"hf:{repo}: the Hub has no such repository, or it is private\n"
            "check the spelling; for a private one log in with `hf auth login`, or set HF_TOKEN"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise StoreError(
            f"hf:{repo}: HF_HUB_OFFLINE is set, and the model is not in the cache\n"
            "unset it to download"
        ) from error
    except errors.HfHubHTTPError as error:
        raise StoreError(f"hf:{repo}: {_status(error)}\ntry again later") from error
    except (transport_error(), errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise StoreError(
            f"hf:{repo}: cannot reach the Hub ({printable(error)[:200]}); is this machine "
            "offline?\n"
            f"connect it and run `forge pull hf:{repo}` again: what has arrived is kept"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise disk.refused(hub_caches()[0], error) from error
        raise StoreError(f"hf:{repo}: {printable(error)[:300]}\ntry again") from error


def _status(error: Exception) -> str:
    response = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    if code in (401, 403):
        return (
            f"the Hub refuses access (status {code}); log in with `hf auth login`, or set HF_TOKEN"
        )
    return f"the Hub answered with status {code}" if code else printable(error)[:200]


def _info(repo: str) -> ModelInfo:
    from huggingface_hub import HfApi  # slow to import

    return HfApi(library_name="forge-llm").model_info(repo, files_metadata=True, timeout=20)


def _cached(name: HubName) -> tuple[Path, ModelFiles] | None:
    """What the name means among the complete models already here."""
    for hub in hub_caches():
        for snapshot in hub_snapshots(hub, name.repo):
            models = [model for model, _ in walk.models(snapshot, depth=3)]
            try:
                model = pick(name.repo, [file for m in models for file in m.files], name.wanted)
            except (ModelNotFound, UsageError):
                continue
            return snapshot / model.first, model
    return None
