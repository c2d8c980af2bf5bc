"""Split GGUF sets: the parts of one model, by their names alone.

The pattern is the one llama.cpp's gguf-split writes: NAME-00001-of-00003.gguf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PART = re.compile(r"^(?P<prefix>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
_TAG = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|B?F16|F32|MXFP4\w*|NVFP4\w*))$", re.IGNORECASE
)

_MOST_PARTS = 1024  # a name may claim 99999; DeepSeek-R1 in BF16 comes in 30

# Beside a model lie files that are no language model: llama.cpp skips the same ones by name
# (gguf_filename_is_model in its common/download.cpp).
_NO_MODEL = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model's files, one or a whole split set in order, as paths relative to a folder."""

    files: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The file that stands for the model."""
        return self.files[0]

    @property
    def stem(self) -> str:
        """The name without folder, part number and suffix."""
        return stem(self.first.rsplit("/", 1)[-1])

    @property
    def tag(self) -> str | None:
        """The quantisation at the name's end, e.g. Q4_K_M; None if the name does not say."""
        match = _TAG.search(self.stem)
        return match[1].upper() if match else None


def stem(name: str) -> str:
    """A file's name without `.gguf` and part number."""
    if match := _PART.match(name):
        return match["prefix"]
    return name[: -len(".gguf")] if name.lower().endswith(".gguf") else name


def parts(name: str) -> tuple[str, ...]:
    """All parts of the set that a name says it belongs to; the name alone if it is no part."""
    match = _PART.match(name)
    if match is None:
        return (name,)
    count = int(match["count"])
    if not 1 <= int(match["index"]) <= count <= _MOST_PARTS:
        return (name,)
    suffix = name[-len(".gguf") :]
    return tuple(f"{match['prefix']}-{i:05}-of-{count:05}{suffix}" for i in range(1, count + 1))


def is_model(name: str) -> bool:
    """Whether a file's name is that of a language model."""
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(".gguf") and not any(word in base for word in _NO_MODEL)


def group(names: Iterable[str]) -> list[ModelFiles]:
    """The models among a folder's files, split sets as one, in the order of their names."""
    present = set(names)
    models: dict[str, ModelFiles] = {}
    for name in sorted(present):
        if is_model(name):
            whole = parts(name)
            missing = tuple(part for part in whole if part not in present)
            models.setdefault(whole[0], ModelFiles(whole, missing))
    return list(models.values())
