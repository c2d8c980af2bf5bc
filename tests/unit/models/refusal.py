"""What the tests of wrong files share: a file is opened whole, or refused in few words."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from forge.backend import BackendConfig
from forge.errors import ForgeError, ModelError
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge_cpu.plain import NumpyBackend

Edit = Callable[..., Path]
KIND = gguf.GGUFValueType


def opened(path: Path) -> None:
    """The model compiles."""
    with open_gguf(path) as file:
        graph = build_graph(file)
        NumpyBackend(BackendConfig(threads=1)).compile(graph, Weights(graph, file), lambda *_: None)


def refused(path: Path, *words: str, kind: type[ForgeError] = ModelError) -> None:
    """It does not, and says these words."""
    started = time.monotonic()
    tracemalloc.start()
    with pytest.raises(kind) as caught:
        opened(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 3
    assert len(message) < 500 + len(str(path))
    for word in (str(path), *words):
        assert word in message
    # Generous: it shows that nothing counts up to a number in the file.
    assert time.monotonic() - started < 5
    assert most < 64 << 20
