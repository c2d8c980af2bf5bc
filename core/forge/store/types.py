"""What the store tells its callers: which models are here, and how a download goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Source = Literal["forge", "hugging face", "ollama", "lm studio", "llama.cpp"]
Phase = Literal["waiting", "downloading", "checking"]


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A complete model on this machine; a split set is one model.

    `name` is what to type, `path` the GGUF (a split set's first part), `bytes` the whole size.
    """

    name: str
    path: Path
    bytes: int
    source: Source


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far one download is: `done` of `total` bytes; total is None while nobody knows it."""

    name: str
    phase: Phase
    done: int = 0
    total: int | None = None


Report = Callable[[PullProgress], None]


def silent(_: PullProgress) -> None:
    """Report nothing."""
