"""What a worker and its driver print: as much of it as is of use, in a little memory at most.

A driver that prints for ever would fill a disk, and a full disk would keep workers from starting.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress

MOST = 8 << 20
"""Bytes; what is printed beyond them before the host looks again is lost."""
_KEPT = 1 << 16
_TAIL = 2000
_MOST = 16_000
"""Bytes of the stacks of all threads: the one that works may come last."""


class Log:
    """Owns an anonymous file of a size that cannot grow, which the worker's prints go into.

    Worker and host share the file's position: the host moves it back when much has been printed,
    as it does while it waits. Where the system has no such file, it is cut short instead.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._last = ""
        self.closed = False
        self._sealed = hasattr(os, "memfd_create")
        if self._sealed:
            self.descriptor = os.memfd_create("forge-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.descriptor, most)
            with suppress(OSError):  # older kernels: then it is tidied while the host waits
                fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        else:
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())

    @property
    def position(self) -> int:
        """Where the next print will go."""
        return os.lseek(self.descriptor, 0, os.SEEK_CUR)

    def since(self, start: int) -> str:
        """What was printed after a position."""
        size = max(0, self.position - start)
        return os.pread(self.descriptor, min(size, _MOST), start).decode(errors="replace")

    def tail(self) -> str:
        """The end of what was printed, also after `close`; from any thread."""
        if not self.closed:
            with suppress(OSError):  # another thread has just closed it
                self._last = self.since(max(0, self.position - _TAIL))
        return self._last

    def tidy(self) -> None:
        """Where it is half full, forget all but the end."""
        if self.closed or (end := self.position) < self._most // 2:
            return
        start = max(0, end - _KEPT)
        kept = os.pread(self.descriptor, end - start, start)
        os.lseek(self.descriptor, os.pwrite(self.descriptor, kept, 0), os.SEEK_SET)

    def close(self) -> None:
        """Give the file back; the worker has a descriptor of its own."""
        if not self.closed:
            self.tail()
            self.closed = True
            os.close(self.descriptor)
