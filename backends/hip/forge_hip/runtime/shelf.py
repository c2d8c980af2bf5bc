"""Code objects on disk, by what they were made of and by the release that made them.

One of another release is no first choice. Where a compiler fails, after half an update or on a GPU
that is newer than it, it is better than none: the driver says whether it takes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forge_gpu import kept

AHEAD = "FORGE_HIP_OBJECTS"
"""A folder of objects that another machine compiled: a copy of its FORGE_HIP_CACHE."""


def digest(texts: Iterable[str]) -> str:
    """A name for these texts in this order."""
    made = hashlib.sha256()
    for text in texts:
        data = text.encode()
        made.update(len(data).to_bytes(8, "little") + data)
    return made.hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The objects of one source, and the one of `release`."""

    folder: Path
    source: str
    release: str

    @property
    def path(self) -> Path:
        """Where the object of this release belongs."""
        return self.folder / f"{self.source}-{self.release[:16]}.co"

    def read(self) -> bytes:
        """The object of this release; nothing where there is none that is whole."""
        return kept.read(self.path)

    def write(self, data: bytes) -> None:
        """Keep it; a disk that is full or read-only costs the next start."""
        with suppress(OSError):
            kept.write(self.path, data)

    def others(self) -> Iterator[bytes]:
        """Objects of other releases and other machines, the last that was made first."""
        folders = [self.folder]
        if given := os.environ.get(AHEAD):
            folders.append(Path(given) / self.folder.name)
        for folder in folders:
            for path in sorted(folder.glob(f"{self.source}-*.co"), key=_age):
                if path != self.path and (data := kept.read(path)):
                    yield data

    @property
    def unfinished(self) -> bool:
        """Whether a compilation was begun that never came back."""
        return self._begun.exists()

    def begin(self, name: str) -> None:
        """A compilation begins: should it take this process with it, the next one knows."""
        with suppress(OSError):
            kept.write(self._begun, name.encode())

    def end(self) -> None:
        """It came back, one way or the other."""
        with suppress(OSError):
            self._begun.unlink()

    @property
    def _begun(self) -> Path:
        return self.path.with_suffix(".begun")


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
