"""Kernels by name, through the compiler of the runtime: one compilation for all of a file's."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from forge.backend import BackendUnavailable, Progress
from forge_gpu import kernels
from forge_gpu.kernels import Wanted
from forge_hip.device import HipGpu
from forge_hip.recording import Kernel
from forge_hip.runtime.compiler import Compiler, Unit
from forge_hip.variants import OPTIONS, SourceError, entry, source, unit


class Kernels(kernels.Kernels):
    """Owns the compiled kernels of a device."""

    gpu: HipGpu
    _kernels: dict[Wanted, Kernel]

    def __init__(self, gpu: HipGpu, compiler: Compiler) -> None:
        super().__init__(gpu)
        self._compiler = compiler

    @property
    def folder(self) -> Path:
        """Where compiled kernels are kept between starts."""
        return self._compiler.folder

    def prepare(self, wanted: Sequence[Wanted], progress: Progress) -> None:
        """Compile what is missing of these; `progress` hears of each compilation."""
        missing = [key for key in wanted if key not in self._kernels]
        sets: dict[str, dict[tuple[int, ...], str]] = {}
        try:
            for key in missing:
                sets.setdefault(unit(key.shader), {})[_words(key)] = key.shader
            sources = [source(next(iter(asked.values())), list(asked)) for asked in sets.values()]
        except SourceError as error:
            raise BackendUnavailable(
                f"this build of forge lacks a kernel for HIP: {error}"
            ) from None
        options = (*OPTIONS, *([] if self.gpu.features.dot else ["-DWITHOUT_DOT=1"]))
        units = [Unit(made.name, made.text, options, made.entries) for made in sources]
        self._compiler.prepare(units, progress)
        for key in missing:
            function = self._compiler.function(entry(key.shader, _words(key)))
            threads = int(key.constants[0])
            self._kernels[key] = Kernel(key.shader, function, key.bindings, key.push, threads)

    def save(self) -> None:
        """Each compilation is kept as soon as it is made."""

    def close(self) -> None:
        """Unload all of them."""
        self._kernels.clear()
        self._compiler.close()

    def _made(self, key: Wanted) -> Kernel:
        self.prepare([key], _nothing)
        return self._kernels[key]


def _words(key: Wanted) -> tuple[int, ...]:
    """Constants as 32 bits each."""
    return tuple(
        struct.unpack("I", struct.pack("f", c))[0] if isinstance(c, float) else int(c)
        for c in key.constants
    )


def _nothing(phase: str, done: int, total: int, detail: str = "") -> None:
    del phase, done, total, detail
