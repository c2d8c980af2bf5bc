"""A GGUF model as one thing, in however many files it comes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from forge.errors import ModelError
from forge.gguf.errors import show, show_path
from forge.gguf.mapping import MappedFile
from forge.gguf.metadata import Metadata
from forge.gguf.part import Part
from forge.gguf.split import read_set
from forge.gguf.tensors import Tensor

_T = TypeVar("_T")


class GGUFFile:
    """An open model: `metadata`, `tensors`, and the bytes of each tensor by `data(name)`."""

    def __init__(self, path: Path, parts: list[Part]) -> None:
        self.path = path
        self.parts = tuple(part.path for part in parts)
        self.version = parts[0].version
        self.metadata: Metadata = parts[0].metadata
        tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
        self.tensors: Mapping[str, Tensor] = MappingProxyType(tensors)
        self._sources: tuple[MappedFile, ...] = tuple(part.source for part in parts)

    def get(self, key: str, kind: type[_T]) -> _T | None:
        """The metadata of `key` as a `kind` (bool, int, float, str, list, numpy.ndarray).

        None if the key is missing; a GGUFError if it has another type. An integer serves as float.
        """
        return self.metadata.get_typed(key, kind)

    def require(self, key: str, kind: type[_T]) -> _T:
        """As `get`, but a missing key is a ModelError."""
        return self.metadata.require(key, kind)

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """A read-only view of a tensor's bytes: shape (*outer dimensions, bytes of a row).

        The view stays valid after `close()`. Cutting the file short while a view of it is read
        kills the process (SIGBUS): read weights in a worker.
        """
        tensor = self._tensor(name)
        row = tensor.type.row_bytes(tensor.shape[-1])
        view = self._sources[tensor.part].view(tensor.offset, tensor.nbytes)
        return view.reshape(*tensor.shape[:-1], row)

    def release(self, name: str) -> None:
        """Let the pages of a tensor leave memory; touching a view reads them again."""
        tensor = self._tensor(name)
        self._sources[tensor.part].release(tensor.offset, tensor.nbytes)

    def _tensor(self, name: str) -> Tensor:
        if (tensor := self.tensors.get(name)) is None:
            raise ModelError(f"{show_path(self.path)}: has no tensor {show(name)}")
        return tensor

    def close(self) -> None:
        """Give the files up. Views from `data` and metadata that was read already stay valid."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<GGUFFile {show_path(self.path)}: {len(self.tensors)} tensors>"


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Open the model at `path`; given any part of a split set, the whole set.

    Raises ModelNotFound if it or a part is not there, GGUFError if a file is malformed.
    """
    path = Path(path)
    return GGUFFile(path, read_set(path))
