"""The fault matrix: every fault in every phase, real processes and real signals.

The terminal summary prints it, with the time that each detection took and the budget it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge.past import Past
from forge.state import Ledger
from forge.supervisor import Supervisor

from .conftest import CPU, GREEDY, Reply, ask
from .matrix.cells import CELLS, WRONG
from .matrix.play import SCRIPTS, bad, play
from .matrix.stage import GPU, Stage

STRICT = list(
    zip(SCRIPTS, ("start", "open", "load", "compile", "prefill", "decode", "open"), strict=True)
)
"""One phase of each fault: strict mode is one road for them all."""


@pytest.fixture(scope="module")
def proven(options, tmp_path_factory) -> Path:
    """A state folder: GPU's known answers came out right."""
    folder = tmp_path_factory.mktemp("proven")
    supervisor = Supervisor([GPU], options, past=Past(options, Ledger.open(folder)))
    ask(supervisor)
    supervisor.close()
    return folder


@pytest.fixture
def stage(options, proven, undisturbed, tmp_path) -> Iterator[Stage]:
    made = Stage(options, tmp_path / "diary", proven, undisturbed)
    yield made
    made.close()


@pytest.mark.parametrize(("row", "column"), CELLS)
def test_the_reply_is_complete_whatever_happens_in_any_phase(
    row, column, stage, record_property: Callable[[str, object], None]
) -> None:
    record_property("fault-matrix", play(stage, row, column).property())


@pytest.mark.parametrize(("row", "column"), STRICT)
def test_strict_explains_each_fault_and_ends_with_code_3(row, column, stage) -> None:
    reply = Reply()
    supervisor = stage.process(bad(stage, row, column), CPU, strict=True)
    with pytest.raises(SCRIPTS[row][1], match=r"^gpu: .*--strict") as caught:
        ask(supervisor, reply=reply)
    assert caught.value.exit_code == 3
    assert reply.fallbacks == []
    assert supervisor.runner is None
    if row != WRONG:
        assert reply.tokens == stage.undisturbed(GREEDY)[: len(reply.tokens)]
