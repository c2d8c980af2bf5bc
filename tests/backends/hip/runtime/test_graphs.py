"""Captured graphs are used where they were seen to work."""

from __future__ import annotations

import os

import numpy as np
import pytest
from tests.backends.hip.runtime.conftest import Play
from tests.backends.hip.runtime.desk import ONE, Desk, Layers

from forge_hip.runtime import graphs
from forge_hip.runtime.launches import Packed
from forge_hip.runtime.pool import Arenas


def test_a_graph_can_be_replayed_here(desk: Desk) -> None:
    assert graphs.works(desk.stream, desk.pool, desk.compiler.function("forge_ping")) == ""


def test_a_replayed_graph_says_which_layer_it_is_at(desk: Desk) -> None:
    layers = Layers(desk)

    def body() -> None:
        for layer in (0, 1, 2):
            layers.record(layer)

    graph = graphs.Graph(desk.stream, body)
    desk.stream.wait()
    assert layers.where() == "layer -1", "capturing runs nothing"
    graph.replay()
    desk.stream.wait()
    assert layers.where() == "layer 2"
    graph.close()


def test_a_graph_keeps_the_arguments_it_was_captured_with(desk: Desk) -> None:
    arenas = Arenas(desk.pool)
    a, b = arenas.region(4), arenas.region(4)
    desk.stream.copy_to(a, np.array([10], np.uint32))
    arguments = Packed([a, b], (1).to_bytes(4, "little"))
    ping = desk.compiler.function("forge_ping")
    graph = graphs.Graph(desk.stream, lambda: desk.stream.launch(ping, ONE, ONE, arguments))
    arguments.set((99).to_bytes(4, "little"))
    graph.replay()
    assert desk.stream.copy_from(b, np.uint32).tolist() == [11]
    graph.close()
    arenas.close()


def test_an_error_while_capturing_ends_the_capture(desk: Desk) -> None:
    def body() -> None:
        raise RuntimeError("a step that fails")

    with pytest.raises(RuntimeError, match="a step that fails"):
        graphs.Graph(desk.stream, body)
    assert desk.plus(1, 2) == 3


WORKS = """
from tests.backends.hip.runtime.desk import Desk
from forge_hip.runtime import graphs

desk = Desk()
print(graphs.works(desk.stream, desk.pool, desk.compiler.function("forge_ping")) or "well")
print(desk.plus(1, 2))
desk.close()
"""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("hipStreamBeginCapture=err:801", "hipStreamBeginCapture"),
        ("hipStreamEndCapture@1=err:900", "hipStreamEndCapture"),
        ("hipGraphInstantiate=err:801", "hipGraphInstantiate"),
        ("hipGraphLaunch=err:1", "hipGraphLaunch"),
        ("device[forge_ping]@2=corrupt", "a replayed graph computed"),
    ],
)
def test_where_capture_fails_or_computes_nonsense_launches_go_one_by_one(
    play: Play, fault: str, said: str
) -> None:
    done = play(WORKS, HIPSIM_FAULT=fault, PYTHONPATH=os.getcwd())
    why, result = done.stdout.splitlines()
    assert said in why
    assert result == "3"
