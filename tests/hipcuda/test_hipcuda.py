"""The HIP-to-CUDA shim: what can be tried of it on this machine."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.hipsim.build import BuildError

from .build import environment

_ROOT = Path(__file__).parents[2]
_SCENE = """
import json, ctypes
from hip import hip
from tests.hipsim.gpu import Gpu, HipError, compiled, check
source = 'extern "C" __global__ void fill(float* y, float v) { y[threadIdx.x] = v; }'
found = {"code": len(compiled(source, "gfx1030"))}
try:
    compiled("nonsense", "gfx1030")
except HipError as error:
    found["error"] = str(error)
found["devices"] = hip.hipGetDeviceCount()[0].name
if found["devices"] == "hipSuccess":
    gpu = Gpu(source, "gfx1030")
    y = gpu.malloc()
    gpu.launch("fill", y, ctypes.c_float(3))
    found["values"] = gpu.read(y, 64)
    gpu.capture()
    gpu.launch("fill", y, ctypes.c_float(4))
    check(hip.hipGraphLaunch(gpu.captured(), gpu.stream))
    found["replayed"] = gpu.read(y, 64)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What a process with the shim saw."""
    pytest.importorskip("hip", reason="pip install hip-python brings the binding")
    try:
        shim = environment()
    except BuildError as error:
        pytest.skip(str(error))
    if "HIPCUDA_NVRTC" not in shim:
        try:
            ctypes.CDLL("libnvrtc.so")
        except OSError:
            pytest.skip("pip install nvidia-cuda-nvrtc brings the compiler")
    done = subprocess.run(
        [sys.executable, "-c", _SCENE],
        env={**os.environ, **shim},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert not done.returncode, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_nvrtc_compiles_a_kernel_written_in_hip(found: dict[str, Any]) -> None:
    assert found["code"] > 1000


def test_a_source_that_is_wrong_is_a_compile_error_with_its_log(found: dict[str, Any]) -> None:
    assert found["error"].startswith("HIPRTC_ERROR_COMPILATION: ")
    assert "nonsense" in found["error"]


def test_the_gpu_or_its_absence_is_told_in_hips_words(found: dict[str, Any]) -> None:
    assert found["devices"] in ("hipSuccess", "hipErrorNoDevice")


def test_kernels_and_graphs_run_on_the_gpu(found: dict[str, Any]) -> None:
    if found["devices"] != "hipSuccess":
        pytest.skip("there is no NVIDIA GPU here")
    assert found["values"] == [3.0] * 64
    assert found["replayed"] == [4.0] * 64
