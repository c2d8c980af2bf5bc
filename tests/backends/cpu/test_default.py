"""Kernels serve wherever they can; where not, numpy does, and says why."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forge import Engine, Ready
from forge.backend import BackendConfig, Check
from forge.conversion import convert
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.testing import write_tiny
from forge.testing.environment import without
from forge.testing.truth import divergence
from forge.weights import Weights
from forge_cpu.backend import CpuBackend
from forge_cpu.compiled.executable import CompiledExecutable
from forge_cpu.plain import NumpyBackend

SILENT = lambda *_: None  # noqa: E731
IDS = {"tokens": np.arange(3, 40, dtype=np.int32)}
AT = np.arange(37, dtype=np.int32)

OPEN = """
import sys
from forge.backend import BackendConfig
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge_cpu.backend import CpuBackend
backend = CpuBackend(BackendConfig(threads=2))
with open_gguf(sys.argv[1]) as file:
    graph = build_graph(file, state_dtype="f16")
    made = backend.compile(graph, Weights(graph, file), lambda *_: None)
print(type(made).__name__, *backend.checks(), sorted({"llvmlite", "numba"} & {*sys.modules}))
made.close()
backend.close()
"""
NO_NEW_CODE = """
import ctypes
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN (prctl(2))
    raise SystemExit(77)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", quant="q8_0", context=64)


def opened(tiny: Path, env: dict[str, str] | None = None, *, first: str = "") -> str:
    """What a process of its own says: the executable's class, the check, compilers imported."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", first + OPEN, str(tiny)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this Linux does not refuse code that is made while a program runs")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kernels_are_the_default_and_tell_where_their_code_is(tiny: Path) -> None:
    said = opened(tiny)
    assert said.startswith("CompiledExecutable Check(name='kernels', ok=True, detail='")
    assert os.environ["FORGE_CPU_CACHE"] in said


def test_numpy_can_be_asked_for_and_then_no_compiler_is_imported(tiny: Path) -> None:
    said = opened(tiny, {"FORGE_CPU_KERNELS": "0"})
    assert said.startswith("CpuExecutable Check(name='kernels', ok=True")
    assert said.endswith("[]\n")


def test_without_numba_the_command_that_brings_it_is_told(tiny: Path) -> None:
    hidden = without(["numba"])
    said = opened(tiny, hidden)
    assert said.startswith("CpuExecutable Check(name='kernels', ok=False")
    assert "numba" in said


@pytest.mark.parametrize("broken", ["llvmlite", "numba"])
def test_a_compiler_that_does_not_load_leaves_numpy_and_the_reason(
    broken: str, tiny: Path, tmp_path: Path
) -> None:
    package = tmp_path / "first" / broken
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('made for another numpy')\n")
    path = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    said = opened(tiny, {"PYTHONPATH": path, "FORGE_CPU_CACHE": str(tmp_path / "empty")})
    assert said.startswith("CpuExecutable Check(name='kernels', ok=False")
    assert "made for another numpy" in said


def test_where_code_may_not_be_made_numpy_computes_and_says_so(tiny: Path) -> None:
    said = opened(tiny, first=NO_NEW_CODE)
    assert said.startswith("CpuExecutable Check(name='kernels', ok=False")
    assert "numpy computes, many times slower" in said


def test_what_is_not_well_is_told_when_a_model_is_loaded(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in without(["numba"]).items():
        monkeypatch.setenv(name, value)
    with Engine(tiny, backend="cpu") as engine:
        (ready,) = (event for event in engine.load() if isinstance(event, Ready))
    assert any(note.startswith("kernels: numpy computes") for note in ready.notes)


def test_weights_that_no_kernel_reads_are_converted_and_others_are_not(tmp_path: Path) -> None:
    backend = CpuBackend(BackendConfig(threads=1))
    path = write_tiny(tmp_path / "m.gguf", quant="iq3_s", width=256, ffn=256, layers=2)
    with open_gguf(path) as file:
        graph = build_graph(file, state_dtype="f16")
        converted, notes = convert(graph, backend)
        assert {spec.dtype for spec in converted.weights.values()} == {"f16", "f32"}
        assert any("converted from IQ3_S to F16" in note for note in notes)
        assert convert(graph, NumpyBackend(BackendConfig(threads=1))) == (graph, [])
        executable = backend.compile(converted, Weights(converted, file), SILENT)
        assert isinstance(executable, CompiledExecutable)
        executable.close()
    backend.close()


@pytest.mark.parametrize("quant", ["f16", "q4_0", "q6_k"])
def test_logits_are_those_of_numpy_within_what_int8_activations_cost(
    quant: str, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "m.gguf", quant=quant, width=256, ffn=256, layers=2)
    with open_gguf(path) as file:
        graph = build_graph(file, state_dtype="f16")
        found = []
        for kind in (NumpyBackend, CpuBackend):
            backend = kind(BackendConfig(threads=2))
            executable = backend.compile(graph, Weights(graph, file), SILENT)
            (logits,) = executable.run(IDS, AT, 0 * AT, "all").values()
            found.append(logits.astype(np.float64))
            executable.close()
            backend.close()
    assert 0 < divergence(*found) < 1e-2


def test_what_is_not_well_is_a_check_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_CPU_KERNELS", "0")
    backend = CpuBackend(BackendConfig(threads=1))
    assert backend.checks() == [
        Check("kernels", True, "numpy computes, as FORGE_CPU_KERNELS=0 asks")
    ]
    backend.close()
