"""Build the HIP-to-CUDA shim, on a machine with CUDA's headers.

`eval $(python -m tests.hipcuda.build)` exports what hip-python, and so the HIP backend, needs to
run on an NVIDIA GPU. The headers are those of CUDA_HOME, of /usr/local/cuda*, or of the Python
packages nvidia-cuda-runtime and nvidia-cuda-nvrtc in the environment of this interpreter, whose
NVRTC is then named by HIPCUDA_NVRTC. The libraries of NVIDIA are loaded when they are first called.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tests.hipsim.build import BuildError, built

HERE = Path(__file__).parent


def rocm_path() -> Path:
    """The folder for ROCM_PATH, built if need be. Raises BuildError, that tells what is missing."""
    return built(HERE, "cuda", [f"-I{folder}" for folder in headers()])


def headers() -> list[Path]:
    """The folders with cuda.h and nvrtc.h. Raises BuildError."""
    found = []
    for name in ("cuda.h", "nvrtc.h"):
        folder = next((each for each in _folders() if (each / name).is_file()), None)
        if not folder:
            raise BuildError(
                f"there is no {name}: set CUDA_HOME, or "
                "pip install nvidia-cuda-runtime nvidia-cuda-nvrtc"
            )
        found.append(folder)
    return list(dict.fromkeys(found))


def environment() -> dict[str, str]:
    """What a process needs to use the shim."""
    nvrtc = next((each for each in _packages() for each in each.glob("lib/libnvrtc.so.*")), None)
    named = {"HIPCUDA_NVRTC": str(nvrtc)} if nvrtc else {}
    return {"ROCM_PATH": str(rocm_path()), **named}


def _folders() -> Iterator[Path]:
    if home := os.environ.get("CUDA_HOME"):
        yield Path(home) / "include"
    for each in sorted(Path("/usr/local").glob("cuda*"), reverse=True):
        yield each / "include"
    for each in _packages():
        yield each / "include"


def _packages() -> Iterator[Path]:
    """Where NVIDIA's Python packages put their files: nvidia/cu13, nvidia/cuda_runtime, …"""
    yield from sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("*"), reverse=True)


if __name__ == "__main__":
    for name, value in environment().items():
        sys.stdout.write(f"export {name}={value}\n")
