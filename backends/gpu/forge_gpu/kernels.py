"""Kernels by name and constants: made when they are asked for, or all at once before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge.backend import Progress
from forge_gpu.device import Gpu


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kernel as it is asked for: `bindings` buffers, `push` bytes of constants of each run.

    `constants` are known when it is compiled; a float is handed over as 32 bits of one.
    """

    shader: str
    bindings: int
    push: int
    constants: tuple[int | float, ...]
    subgroup: int


class Kernels(ABC):
    """Knows the kernels that were made; a backend says how one is."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self._collected: dict[Wanted, None] | None = None
        self._kernels: dict[Wanted, Any] = {}

    def get(
        self,
        shader: str,
        *,
        bindings: int,
        push: int = 0,
        constants: tuple[int | float, ...] = (),
        subgroup: int = 0,
    ) -> Any:
        """The kernel with its constants 0, 1, …; in subgroups of that size, if any."""
        return self.of(Wanted(shader, bindings, push, constants, subgroup))

    def of(self, key: Wanted) -> Any:
        """The kernel that is asked for so."""
        if self._collected is not None:
            self._collected[key] = None
            return None
        if key not in self._kernels:
            self._kernels[key] = self._made(key)
        return self._kernels[key]

    @contextmanager
    def collecting(self) -> Iterator[list[Wanted]]:
        """Meanwhile nothing is compiled; the list has what was asked for, at the end."""
        found: list[Wanted] = []
        self._collected = {}
        try:
            yield found
            found.extend(self._collected)
        finally:
            self._collected = None

    def prepare(self, wanted: Sequence[Wanted], progress: Progress) -> None:
        """Compile what is missing of these; `progress` hears of each."""
        missing = [key for key in wanted if key not in self._kernels]
        for done, key in enumerate(missing, 1):
            self._kernels[key] = self._made(key)
            progress("compile", done, len(missing), key.shader)

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where compiled kernels are kept between starts."""

    @abstractmethod
    def save(self) -> None:
        """Keep what was compiled, where that was not done by and by."""

    @abstractmethod
    def _made(self, key: Wanted) -> Any:
        """Compile one."""
