"""A regular file mapped read-only into memory."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from forge.errors import GGUFError, ModelError, ModelNotFound
from forge.gguf.errors import show_path

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class MappedFile:
    """The bytes of a file, mapped; the views it hands out stay valid after `close()`.

    Reading a page that the file no longer has kills the process (SIGBUS), and no check can close
    that gap entirely. So the file's size is looked at again before metadata is decoded and before
    every view is handed out: a file that has been cut short since gives an error instead. What
    reads the views for long belongs into a process that may die.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: mmap.mmap | None = None
        descriptor = _open_regular(path)
        try:
            self.size = os.fstat(descriptor).st_size
            if self.size:  # an empty file cannot be mapped
                self._map = mmap.mmap(descriptor, self.size, access=mmap.ACCESS_READ)
        except (OSError, OverflowError, ValueError) as error:
            raise ModelError(f"{show_path(path)}: cannot be mapped into memory: {error}") from error
        finally:
            os.close(descriptor)

    @property
    def buffer(self) -> mmap.mmap | bytes:
        """The mapped bytes, once it is certain that the file still has them all."""
        if not self.size:
            return b""
        if self._map is None:
            raise ModelError(f"{show_path(self.path)}: the file is closed")
        if (now := self._map.size()) < self.size:
            raise GGUFError(
                f"{show_path(self.path)}: size at byte {now}: the file had {self.size} bytes when "
                "it was opened and has been cut short since; open it again"
            )
        return self._map

    def view(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """A read-only view of `nbytes` bytes from `offset`, which the caller has checked."""
        return np.frombuffer(self.buffer, np.uint8, nbytes, offset)

    def release(self, offset: int, nbytes: int) -> None:
        """Let the whole pages inside this range leave memory; touching them reads them again."""
        page = mmap.PAGESIZE
        start = -(-offset // page) * page
        length = (offset + nbytes) // page * page - start
        if self._map is not None and length > 0 and hasattr(mmap, "MADV_DONTNEED"):
            with suppress(OSError):  # advice: pages that are locked in memory stay
                self._map.madvise(mmap.MADV_DONTNEED, start, length)

    def close(self) -> None:
        """Give the mapping up; it goes when the last view of it goes."""
        mapping, self._map = self._map, None
        if mapping is not None:
            with suppress(BufferError):  # arrays still look into it: they keep it alive
                mapping.close()

    def __enter__(self) -> MappedFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open_regular(path: Path) -> int:
    # stat before open, for opening a device can do things; O_NONBLOCK and fstat after, for the
    # name may lead to a pipe by then, and opening one waits for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _check_regular(path, os.stat(path))
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise ModelNotFound(f"{show_path(path)}: no such file") from error
        reason = error.strerror or str(error)
        raise ModelError(f"{show_path(path)}: cannot be opened: {reason}") from error
    except ValueError as error:  # a NUL in the name
        raise ModelNotFound(f"{show_path(path)}: not a possible file name") from error
    try:
        _check_regular(path, os.fstat(descriptor))
    except ModelError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise GGUFError(f"{show_path(path)}: a directory, not a GGUF file")
    if not stat.S_ISREG(status.st_mode):
        raise GGUFError(f"{show_path(path)}: not a regular file (a pipe, a socket or a device)")
