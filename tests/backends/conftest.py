"""Engines on a tiny model, on the CPU and on a third party's backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge import BackendSpec, Done, Engine, SamplingParams
from forge.testing import write_tiny

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GREEDY = SamplingParams(temperature=0)


def third(**env: str) -> BackendSpec:
    """The third party's backend, found as a package beside these tests."""
    path = {"PYTHONPATH": str(Path(__file__).parent)}
    return BackendSpec("third", "third_party:ThirdBackend", env={**path, **env})


def done(events) -> Done:
    """A reply's last event."""
    *_, last = events
    assert isinstance(last, Done)
    return last


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that speaks, of a weight type that both backends have."""
    path = tmp_path_factory.mktemp("contract") / "tiny.gguf"
    return write_tiny(path, quant="f16", tokenizer="bytes", context=512)


@pytest.fixture
def open_engine(model: Path):
    """Open engines on that model; they are closed when the test ends."""
    opened: list[Engine] = []

    def open_(backend: BackendSpec | str = CPU, **choices) -> Engine:
        engine = Engine.open(model, backend=backend, **{"fallback_to": [CPU], **choices})
        opened.append(engine)
        return engine

    yield open_
    for engine in opened:
        engine.close()
