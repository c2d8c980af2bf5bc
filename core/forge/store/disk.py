"""Folders, locks and space: what the store asks of the file system, with clear errors."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forge.errors import StoreError
from forge.store.text import printable, size

_POLL = 0.1
_SPARE = 16 << 20  # what the file system itself and a log may need beside the model


def models_dir() -> Path:
    """Where forge keeps the models it fetched: FORGE_CACHE, or the user's cache folder."""
    if base := os.environ.get("FORGE_CACHE"):
        return Path(base).expanduser() / "models"
    from platformdirs import user_cache_path  # a path given by hand needs none of it

    return user_cache_path("forge", appauthor=False) / "models"


def make_folder(folder: Path) -> Path:
    """Create a folder of the cache, or say why it cannot be."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return folder


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into StoreError."""
    try:
        yield
    except OSError as error:
        raise refused(folder, error) from error


def refused(folder: Path, error: OSError) -> StoreError:
    """The StoreError for what the operating system said about a folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"{printable(folder)}: no space left on the device\n"
            "free some space, or set FORGE_CACHE (HF_HOME for hf: models) to a folder that has it"
        )
    return StoreError(
        f"{printable(folder)}: cannot write here ({error.strerror or error})\n"
        "set FORGE_CACHE (HF_HOME for hf: models) to a folder that you may write to"
    )


def need_space(folder: Path, count: int) -> None:
    """Refuse a download before it starts if the disk cannot hold it."""
    with disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < count + _SPARE:
        raise StoreError(
            f"{printable(folder)}: no space, {size(count + _SPARE)} needed and {size(free)} free\n"
            "free some space, or set FORGE_CACHE (HF_HOME for hf: models) to a folder that has it"
        )


@contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold an exclusive lock on a file (created if missing) and yield its descriptor.

    The lock dies with the process, however it dies. `on_wait` is called while another process
    holds it. Should that one have renamed or removed the file, the new file at `path` is locked.
    """
    while True:
        with disk_errors(path.parent):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            while not _try_lock(handle, path.parent):
                on_wait()
                time.sleep(_POLL)
            if _is(handle, path):
                yield handle
                return
        finally:
            os.close(handle)


def _try_lock(handle: int, folder: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no locks: two downloads then cost bandwidth, not
        # correctness, because what is not verified is never renamed into place.
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            return True
        raise refused(folder, error) from error
    return True


def _is(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def publish(handle: int, temporary: Path, final: Path) -> None:
    """Make a finished file appear under its name at once, and durably: all of it or nothing."""
    os.fsync(handle)
    temporary.replace(final)
    folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
