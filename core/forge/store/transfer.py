"""Fetching files into the shared Hugging Face cache: resumed, verified, and only then visible.

huggingface_hub 2 starts an interrupted file again from nothing and compares only its length. So
large files (all that have a SHA-256) arrive as `blobs/SHA256.forge.incomplete`, a name that
`hf cache` counts as an unfinished download, and only what has the right SHA-256 becomes a blob.
hf_hub_download then finds the blob there and writes the cache's references itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import (
    errors,
    get_session,
    hf_hub_download,
    hf_hub_url,
    hf_raise_for_status,
    try_to_load_from_cache,
)
from huggingface_hub.constants import HF_HUB_CACHE

# documented, but missing in the module's __all__
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
from tqdm import tqdm

from forge.errors import StoreError
from forge.store import disk
from forge.store.hub import HubFile, transport_error
from forge.store.text import printable, size
from forge.store.types import Phase, PullProgress, Report

Tell = Callable[[Phase, int], None]

_CHUNK = 1 << 20
_TRIES = 5  # in a row without a single new byte
_TIMEOUT = 30.0
# Above this, the Hub serves a file through Xet only, which verifies it by itself.
_MOST_HTTP = 50_000_000_000
_HTTP_ERROR = transport_error()


def fetch_files(name: str, files: Sequence[HubFile], report: Report) -> Path:
    """Fetch all of a model's files; the path of the first."""
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    done = 0
    paths = []
    missing = [file for file in files if not _here(file)]
    if missing:
        folder = disk.make_folder(_blobs(files[0].repo))
        disk.need_space(folder, sum((file.size or 0) - _arrived(file) for file in missing))
    for file in files:
        before = done

        def tell(phase: Phase, count: int, before: int = before) -> None:
            report(PullProgress(name, phase, before + count, total))

        if file.sha256 and 0 < (file.size or 0) <= _MOST_HTTP and not _here(file):
            _fetch_blob(file, file.sha256, file.size or 0, tell)
        tell("downloading", 0)
        paths.append(_reference(file, tell))
        done += file.size or 0
    tell("checking", files[-1].size or 0)
    return paths[0]


def _here(file: HubFile) -> bool:
    if isinstance(try_to_load_from_cache(file.repo, file.name, revision=file.commit), str):
        return True
    return file.sha256 is not None and (_blobs(file.repo) / file.sha256).exists()


def _blobs(repo: str) -> Path:
    return Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"


def _partial(file: HubFile) -> Path:
    return _blobs(file.repo) / f"{file.sha256}.forge.incomplete"


def _arrived(file: HubFile) -> int:
    try:
        return _partial(file).stat().st_size if file.sha256 else 0
    except OSError:
        return 0


def _fetch_blob(file: HubFile, sha256: str, length: int, tell: Tell) -> None:
    blobs = _blobs(file.repo)
    partial = _partial(file)
    with disk.locked(partial, lambda: tell("waiting", 0)) as handle:
        if (blobs / sha256).exists():  # another forge has just finished it
            partial.unlink()
            return
        with open(handle, "r+b", closefd=False) as target:
            digest = _download(file, target, length, tell)
        if digest != sha256:
            partial.unlink()
            raise StoreError(
                f"hf:{file.repo}: {printable(file.name)} arrived with the SHA-256 {digest}, "
                f"not {sha256}\n"
                "nothing was kept; pull again, and if it stays so, suspect the proxy or HF_ENDPOINT"
            )
        with disk.disk_errors(blobs):
            disk.publish(handle, partial, blobs / sha256)


def _download(file: HubFile, target: BinaryIO, length: int, tell: Tell) -> str:
    """Fetch what the partial file lacks, as often as the connection breaks; its SHA-256."""
    digest, done = hashlib.sha256(), 0
    while done < length and (chunk := target.read(min(_CHUNK, length - done))):
        digest.update(chunk)
        done += len(chunk)
        tell("checking", done)
    best, tries, reason = done, 0, "the connection ended"
    target.truncate(target.seek(done))
    while done < length:
        try:
            for start, chunk in _stream(file, done):
                if start != done:  # the server knows no Range: from the beginning
                    digest, done = hashlib.sha256(), start
                    target.truncate(target.seek(start))
                with disk.disk_errors(Path(HF_HUB_CACHE)):
                    target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                tell("downloading", min(done, length))
                if done > length:
                    return "(too long)"
        except errors.HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            reason = f"status {error.response.status_code}"
        except _HTTP_ERROR as error:
            reason = printable(error)[:200] or type(error).__name__
        if done < length:
            best, tries = (done, 0) if done > best else (best, tries + 1)
            if tries >= _TRIES:
                raise StoreError(
                    f"hf:{file.repo}: {printable(file.name)}: the transfer broke off ({reason})\n"
                    f"{size(done)} of {size(length)} are kept; pull again to go on from there"
                )
            time.sleep(min(0.5 * 2**tries, 8))
    return digest.hexdigest()


def _stream(file: HubFile, offset: int) -> Iterator[tuple[int, bytes]]:
    """The file's bytes from `offset` on, each chunk with its place in the file."""
    url = hf_hub_url(file.repo, file.name, revision=file.commit)
    headers = build_hf_headers(library_name="forge-llm")
    headers["Accept-Encoding"] = "identity"
    if offset:
        headers["Range"] = f"bytes={offset}-"
    # A redirect to another host leaves the token behind: httpx drops Authorization there.
    with get_session().stream(
        "GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True
    ) as answer:
        hf_raise_for_status(answer)
        ranged = answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        place = offset if answer.status_code == 206 and ranged else 0
        for chunk in answer.iter_bytes(_CHUNK):
            yield place, chunk
            place += len(chunk)


def _reference(file: HubFile, tell: Tell) -> Path:
    """Let huggingface_hub enter the file in its cache; it downloads what has no SHA-256 itself."""

    class Bar(tqdm):  # type: ignore[type-arg]  # generic in its stubs only
        """Stands in for huggingface_hub's own bar, which draws even where there is no terminal."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})
            self.arrived = options.get("initial") or 0

        def update(self, n: float | None = 1) -> None:
            self.arrived += n or 0
            tell("downloading", int(self.arrived))

    path = Path(hf_hub_download(file.repo, file.name, library_name="forge-llm", tqdm_class=Bar))
    found = path.stat().st_size
    if file.size is not None and found != file.size:
        raise StoreError(
            f"{printable(path)}: {found} bytes in the cache, but {file.size} on the Hub\n"
            "it was cut off, or the Hub's file changed: remove this one and pull again"
        )
    return path
