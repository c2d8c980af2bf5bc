"""What the models' tests share: a model run on the reference, llama.cpp's truth, edited files."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
import pytest

from forge import reference
from forge.backend import BackendConfig, Executable
from forge.gguf import open_gguf
from forge.graph import Graph, Node, Op
from forge.models import build_graph
from forge.testing import write_tiny
from forge.weights import Weight, Weights
from forge_cpu.executable import CpuExecutable
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
HERE = Path(__file__).parent
TOOLS = Path(__file__).parents[3].parent / "shared" / "tools"


class LikeGGML(CpuExecutable):
    """Rounds as llama.cpp's CPU code does: its gelu is a table of half precision numbers.

    `ggml_vec_gelu_f32` and `ggml_vec_geglu_f32` in ggml/src/ggml-cpu/vec.h.
    """

    def compute(self, node: Node, arguments: Sequence[Array]) -> Array:
        """One node."""
        if node.op is not Op.GELU_MUL:
            return super().compute(node, arguments)
        gate, *up = arguments
        rounded = np.clip(gate, -10, 10).astype(np.float16).astype(np.float32)
        table = reference.gelu(rounded).astype(np.float16).astype(np.float32)
        out = np.where(gate <= -10, 0, np.where(gate >= 10, gate, table)).astype(np.float32)
        return out * up[0] if up else out


def compiled(
    path: Path,
    change: Callable[[Graph], Graph] | None = None,
    swap: Callable[[str, Weight], Weight] | None = None,
    like_ggml: bool = False,
    **options: Any,
) -> Executable:
    """The model at `path` on the CPU backend; `change` and `swap` plant bugs."""
    file = open_gguf(path)
    graph = build_graph(file, **options)
    graph = change(graph) if change else graph
    weights: Mapping[str, Weight] = Weights(graph, file)
    if swap:
        weights = {name: swap(name, weight) for name, weight in weights.items()}
    if like_ggml:
        return LikeGGML(graph, weights, lambda *_: None)
    return NumpyBackend(BackendConfig(threads=1)).compile(graph, weights, lambda *_: None)


def run(
    executable: Executable,
    tokens: Sequence[int],
    start: int = 0,
    rows: Any = "all",
    slots: Sequence[int] | None = None,
) -> Array:
    """The output rows after `tokens`, the first of which is at position `start`."""
    count = len(tokens)
    where = np.zeros(count, np.int32) if slots is None else np.array(slots, np.int32)
    out = executable.run(
        {executable.inputs[0]: np.array(tokens, np.int32)},
        np.arange(start, start + count, dtype=np.int32),
        where,
        rows,
    )
    return out[executable.outputs[0]]


def divergence(truth: Array, logits: Array) -> Array:
    """KL(truth ‖ logits) of each row, in float64."""

    def log_softmax(x: Array) -> Array:
        x = x.astype(np.float64)
        x = x - x.max(axis=1, keepdims=True)
        return np.asarray(x - np.log(np.exp(x).sum(axis=1, keepdims=True)))

    p, q = log_softmax(truth), log_softmax(logits)
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def edited(
    source: Path,
    out: Path,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """A copy with other metadata and tensors: None drops one; a value may be (value, its type).

    A tensor is an array, or (uint8 rows, GGML type).
    """
    metadata, tensors = metadata or {}, tensors or {}
    reader = gguf.GGUFReader(source)
    architecture = metadata.get(
        "general.architecture", reader.fields["general.architecture"].contents()
    )
    writer = gguf.GGUFWriter(out, architecture)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in (*metadata, "general.architecture"):
            kinds = field.types
            writer.add_key_value(
                name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None
            )
    for name, value in metadata.items():
        if value is None or name == "general.architecture":
            continue
        if isinstance(value, tuple):
            writer.add_key_value(name, *value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, gguf.GGUFValueType.get_type(value))
    for tensor in reader.tensors:
        if tensor.name not in tensors:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    for name, value in tensors.items():
        if isinstance(value, tuple):
            writer.add_tensor(name, value[0], raw_dtype=value[1])
        elif value is not None:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


@pytest.fixture
def edit(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny model and change it; `{a}` in a key is the architecture."""

    def edit(
        architecture: str = "llama",
        metadata: Mapping[str, Any] | None = None,
        tensors: Mapping[str, Any] | None = None,
        **shape: Any,
    ) -> Path:
        source = write_tiny(tmp_path / "whole.gguf", architecture, **shape)
        named = {k.replace("{a}", architecture): v for k, v in (metadata or {}).items()}
        return edited(source, tmp_path / "edited.gguf", named, tensors)

    return edit


@pytest.fixture(scope="session")
def load() -> Callable[..., Executable]:
    """See `compiled`."""
    return compiled


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., Array]:
    """See `run`."""
    return run


@pytest.fixture(scope="session")
def kl() -> Callable[[Array, Array], Array]:
    """See `divergence`."""
    return divergence


@dataclass(frozen=True)
class Truth:
    """A tiny model and llama.cpp's logits of it, after each of its tokens."""

    name: str
    path: Path
    tokens: list[int]
    logits: Array
    options: Mapping[str, Any]
    architecture: str


RECORDED = json.loads((HERE / "truth.json").read_text(encoding="utf-8"))
"""The tiny models, how to write them, and the digests of what must come out."""


def digest(path: Path) -> str:
    """Of the tensors alone: name, shape, type and bytes, whatever else the file says."""
    found = hashlib.sha256()
    with open_gguf(path) as file:
        for name, tensor in file.tensors.items():
            found.update(f"{name} {tensor.shape} {tensor.type.name}\n".encode())
            found.update(file.data(name).tobytes())
    return found.hexdigest()


@pytest.fixture(scope="session", params=list(RECORDED["models"]))
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Each recorded model in turn."""
    return recorded(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def truths(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Truth]:
    """A recorded model by name."""
    return lambda name: recorded(name, tmp_path_factory.mktemp(name))


def recorded(name: str, folder: Path) -> Truth:
    """The model written anew, and what llama.cpp said of it."""
    model = RECORDED["models"][name]
    path = write_tiny(folder / "m.gguf", model["architecture"], **model["options"])
    assert digest(path) == model["tensors"], (
        "write_tiny no longer writes the tensors that llama.cpp was asked about: record its "
        "logits again with FORGE_RECORD=1 pytest tests/unit/models/test_llamacpp.py"
    )
    logits = np.load(HERE / f"truth/{name}.npy", allow_pickle=False)
    return Truth(name, path, model["tokens"], logits, model["options"], model["architecture"])


@pytest.fixture(scope="session")
def record() -> Callable[[str, Mapping[str, Any], Array], None] | None:
    """Writes one model's new truth where FORGE_RECORD asks for it, else None."""
    if not os.environ.get("FORGE_RECORD"):
        return None

    def write(name: str, model: Mapping[str, Any], logits: Array) -> None:
        models = {**RECORDED["models"], name: model}
        RECORDED["models"] = models
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in models.items())
        text = f'{{"source": {json.dumps(RECORDED["source"])},\n"models": {{\n{lines}\n}}}}\n'
        (HERE / "truth.json").write_text(text, encoding="utf-8")
        np.save(HERE / f"truth/{name}.npy", logits, allow_pickle=False)

    return write


@pytest.fixture(scope="session")
def model_digest() -> Callable[[Path], str]:
    """See `digest`."""
    return digest


class Peer:
    """llama.cpp in processes of its own: it prints and aborts as it likes."""

    def __init__(self, tool: Path, twin: ModuleType) -> None:
        self._tool, self._twin = tool, twin

    def _ask(self, *arguments: str | Path, timeout: float = 50) -> str:
        command = [sys.executable, str(self._tool), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def float32(self, path: Path, out: Path) -> Path:
        """The model with every weight in float32."""
        self._twin.float32_twin(str(path), str(out))
        return out

    def greedy(self, path: Path, tokens: Sequence[int], count: int) -> list[int]:
        """The most likely tokens after `tokens`, one after the other."""
        ids = ",".join(map(str, tokens))
        command = ("generate", path, "--tokens", ids, "-n", str(count), "--exact", "-t", "2")
        return list(json.loads(self._ask(*command)))

    def logits(self, path: Path, tokens: Sequence[int], folder: Path, timeout: float = 50) -> Array:
        """After each of `tokens`, with keys and values in float32."""
        out = folder / "logits.npy"
        ids = ",".join(map(str, tokens))
        command = ("logits", path, "--tokens", ids, "--out", out, "--exact", "-t", "2")
        self._ask(*command, timeout=timeout)
        return np.asarray(np.load(out, allow_pickle=False))


@pytest.fixture(scope="session")
def peer() -> Peer:
    """llama.cpp, where the tools that load it lie beside this checkout and can fetch it."""
    tool, twin = TOOLS / "llamacpp_peer.py", TOOLS / "float32_twin.py"
    if not tool.exists():
        pytest.skip("no ../shared/tools/llamacpp_peer.py to ask llama.cpp with")
    fetched = subprocess.run(
        [sys.executable, str(tool), "fetch"], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"llama.cpp cannot be fetched: {fetched.stderr.strip().splitlines()[-1:]}")
    spec = importlib.util.spec_from_file_location("float32_twin", twin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Peer(tool, module)
