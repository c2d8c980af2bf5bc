"""Backends that cannot time their kernels say so, and go on working."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Forge

from forge import Engine, SamplingParams
from forge.backend import BackendUnsupported
from forge.errors import UsageError


def test_a_backend_without_timestamps_says_so_and_answers_on(tiny_chat: Path) -> None:
    with Engine.open(tiny_chat, backend="cpu", strict=True) as engine:
        worker = engine.worker_pid
        with pytest.raises(BackendUnsupported, match="no timestamps"):
            engine.profile(1)
        *_, done = engine.generate([60, 61], SamplingParams(temperature=0), max_tokens=3)
        assert (done.backend, engine.worker_pid) == ("cpu", worker)


def test_nothing_to_time_is_refused(tiny_chat: Path) -> None:
    with Engine.open(tiny_chat, backend="cpu", strict=True) as engine:
        for asked in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
            with pytest.raises(UsageError):
                engine.profile(*asked)


def test_bench_says_that_the_cpu_has_no_timestamps(forge: Forge, tiny_chat: Path) -> None:
    done = forge("bench", "-m", tiny_chat, "-b", "cpu", *"-p 4 -n 2 -r 1 --profile".split())
    assert done.returncode != 0
    assert "no timestamps" in done.stderr
    assert "Traceback" not in done.stderr
