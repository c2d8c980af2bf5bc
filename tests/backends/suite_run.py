"""The conformance suite as its users run it: another process, in a folder that holds nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTEST = (sys.executable, "-P", "-m", "pytest", "-rA", "-q", "-p", "no:cacheprovider", "--pyargs")


@dataclass(frozen=True)
class Report:
    """What came of each test, by the end of its id: test_name[parameters]."""

    outcomes: Mapping[str, str]
    text: str

    def failed(self) -> set[str]:
        return {name for name, how in self.outcomes.items() if how in ("FAILED", "ERROR")}

    def passed(self) -> set[str]:
        return {name for name, how in self.outcomes.items() if how == "PASSED"}


RunSuite = Callable[..., Report]


@pytest.fixture(name="run_suite")
def run_suite_fixture(tmp_path: Path) -> RunSuite:
    """Run tests of the suite: `module` of it, those like `like`, on a backend beside this file."""

    def run(
        module: str, backend: str, like: str = "", env: Mapping[str, str] = {}, *options: str
    ) -> Report:
        folder = tmp_path / "empty"
        folder.mkdir(exist_ok=True)
        paths = [env.get("PYTHONPATH", ""), str(HERE), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [
                *(*PYTEST, f"forge.testing.suite.{module}", "--forge-backend", backend),
                *("-k", like, *options),
            ],
            cwd=folder,
            env={**os.environ, **env, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            timeout=55,
            check=False,
        )
        found = re.findall(
            r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) .*?::(test\S+)", done.stdout, re.MULTILINE
        )
        return Report({name: how for how, name in found}, done.stdout + done.stderr)

    return run
