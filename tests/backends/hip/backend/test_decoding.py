"""Tokens that the device finds by itself are those that the contract's own loop decodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forge.backend import Array, Executable, Sampler, SamplingParams
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.testing import write_tiny
from forge.weights import Weights
from forge_hip.backend import HipBackend

PROMPT, COUNT = [5, 17, 90, 44, 3], 12
START = len(PROMPT) - 1
GREEDY = SamplingParams(temperature=0)
DRAWN = SamplingParams(temperature=1.2, seed=3, top_k=20)
FLAT = SamplingParams(temperature=1.5, seed=3, top_k=0)
PENALISED = SamplingParams(temperature=0, repeat_penalty=1.3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"width": 128, "ffn": 256, "layers": 2, "vocabulary": 300}
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "llama", quant="q4_0", **sizes)


@pytest.fixture(scope="module")
def made(backend: HipBackend, path: Path) -> Iterator[Executable]:
    with open_gguf(path) as file:
        graph = build_graph(file, context=64)
        made = backend.compile(graph, Weights(graph, file), lambda *_: None)
    yield made
    made.close()


def feed(made: Executable, tokens: list[int], rows: str) -> Array:
    ids, positions = np.array(tokens, np.int32), np.arange(len(tokens), dtype=np.int32)
    found = made.run({"tokens": ids}, positions, np.zeros_like(positions), rows)
    return next(iter(found.values()))


def begin(made: Executable) -> None:
    made.keep(0, 0)
    feed(made, PROMPT[:-1], "none")


def decoded(made: Executable, params: SamplingParams, count: int = COUNT) -> list[int]:
    begin(made)
    return list(made.decode(PROMPT[-1], START, count, Sampler(params, PROMPT)))


def by_default(made: Executable, params: SamplingParams) -> list[int]:
    begin(made)
    return list(Executable.decode(made, PROMPT[-1], START, COUNT, Sampler(params, PROMPT)))


@pytest.mark.parametrize("params", [GREEDY, DRAWN, FLAT, PENALISED])
def test_steps_give_the_tokens_of_the_loop_over_run(
    made: Executable, params: SamplingParams
) -> None:
    found = decoded(made, params)
    assert found == by_default(made, params)
    assert len({*found}) > 3


def test_a_greedy_token_costs_a_few_calls_of_the_driver_and_no_launch_of_its_own(
    made: Executable, backend: HipBackend
) -> None:
    assert backend.workshop.graphs
    stream = backend.workshop.stream
    begin(made)
    steps = made.decode(PROMPT[-1], START, COUNT, Sampler(GREEDY, PROMPT))
    found = [next(steps) for _ in range(3)]
    before = stream.launches
    found += steps
    assert stream.launches == before
    assert found == decoded(made, GREEDY)


@pytest.mark.parametrize("take", [1, 2, 5])
def test_a_reader_may_stop_anywhere_and_go_on(made: Executable, take: int) -> None:
    whole = decoded(made, GREEDY)
    begin(made)
    steps = made.decode(PROMPT[-1], START, COUNT, Sampler(GREEDY, PROMPT))
    begun = [next(steps) for _ in range(take)]
    steps.close()
    assert begun == whole[:take]
    assert made.keep(0, START + take) == START + take
    again = Sampler(GREEDY, [*PROMPT, *begun])
    more = made.decode(begun[-1], START + take, COUNT - take, again)
    assert [*begun, *more] == whole


def test_the_device_says_which_layer_it_began_last(made: Executable, backend: HipBackend) -> None:
    decoded(made, GREEDY, 1)
    assert backend.workshop.queue.where() == "what comes after the layers"


def test_what_was_warmed_up_is_loaded_and_replies_without_another_compilation(
    backend: HipBackend, tmp_path: Path
) -> None:
    sizes = {"width": 96, "ffn": 160, "layers": 1, "vocabulary": 130}
    path = write_tiny(tmp_path / "warm.gguf", "llama", quant="q5_1", **sizes)
    compiler = backend._opening.compiler
    with open_gguf(path) as file:
        graph = build_graph(file, context=64)
        before = compiler.compiled
        assert backend.warm(graph, lambda *_: None) == str(compiler.folder)
        warmed = compiler.compiled
        assert warmed > before
        made = backend.compile(graph, Weights(graph, file), lambda *_: None)
    decoded(made, GREEDY)
    decoded(made, DRAWN)
    assert compiler.compiled == warmed
    made.close()
