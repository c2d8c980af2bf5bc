"""The same tests on other targets and in other orders of threads, each in a process of its own.

In reverse order a thread that reads what another was to write finds it missing, where in forward
order a barrier that is not there does not show.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHILD = "FORGE_TEST_HIP_ARCH"
pytestmark = pytest.mark.skipif(CHILD in os.environ, reason="this is the other process")


def run(arch: str, order: str, chosen: str, *files: str) -> subprocess.CompletedProcess[str]:
    """Those tests of these files whose names are chosen, with what pytest says."""
    pytest_ = sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-rs"
    names = [str(HERE / f"test_{name}.py") for name in files]
    return subprocess.run(
        [*pytest_, "-p", "no:xdist", "-k", chosen, *names],
        env={**os.environ, CHILD: arch, "FORGE_TEST_HIP_ORDER": order},
        cwd=HERE.parents[3],
        capture_output=True,
        text=True,
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("arch", "order", "files", "chosen"),
    [
        # Without dot products of bytes.
        ("gfx1010", "random", ("matvec", "tiles"), "every_type"),
        ("gfx1030", "reverse", ("matvec", "sampling", "experts"), "fused or found or any_number"),
        ("gfx1030", "reverse", ("attention", "row_ops"), "bytes or norm_is or slot or left"),
        # The other matrix instructions, with another layout.
        ("gfx1201", "reverse", ("gemm", "attention_coopmat"), "rightly or right or company"),
        ("gfx1201", "random", ("attention_decode", "matvec"), "shares or int8 or goes_out or gate"),
    ],
)
def test_kernels_are_right_on_every_target_in_any_order_of_threads(
    driver: None, arch: str, order: str, files: tuple[str, ...], chosen: str
) -> None:
    done = run(arch, order, chosen, *files)
    if "SKIPPED" in done.stdout and " passed" not in done.stdout:
        pytest.skip(done.stdout.splitlines()[-2])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
