"""Attention: one set of bits however tokens came, and nothing of what is out of reach."""

import resource
from collections.abc import Iterator

import numpy as np
import pytest

from forge.testing.truth import nmse
from forge_cpu.crew import Crew
from forge_cpu.isa import available
from forge_cpu.kv import FEW, KIND_BYTES, TILE, KvCache, KvLayout
from forge_cpu.library import Library

from .conversation import Conversation, Machine, attention_graph

ISAS = available()
BOUNDS = {"f32": 1e-11, "f16": 1e-6, "q8_0": 3e-4}
"""Rounding of keys and values at scores that spread over several units."""
SHAPES = {
    "grouped": attention_graph(9, 3, 64, 64, TILE + 90),
    "window": attention_graph(4, 2, 64, 64, 2 * TILE + 9, window=TILE + 5),
    "sinks": attention_graph(8, 1, 40, 24, TILE + 3, sinks=True, window=7, softcap=20.0),
    "one key head": attention_graph(71, 1, 64, 64, 40),
}


@pytest.fixture(scope="module", params=ISAS)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    library = Library(request.param)
    crew = Crew(library, 2)
    yield Machine(library, crew)
    crew.close()


@pytest.mark.parametrize("cache", KIND_BYTES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_token_has_the_same_bits_in_every_chunking(
    shape: str, cache: str, machine: Machine
) -> None:
    graph = SHAPES[shape]
    first, *others = (
        Conversation(graph, cache, machine).outputs(chunks)
        for chunks in ([512], [1], [7, 1, 100, 3, FEW, FEW + 1, 300])
    )
    for other in others:
        np.testing.assert_array_equal(first, other)
    truth = Conversation(graph, cache, machine).truth()
    assert nmse(first, truth) < BOUNDS[cache]


@pytest.mark.parametrize("cache", KIND_BYTES)
def test_bits_do_not_depend_on_the_number_of_threads(cache: str, library: Library) -> None:
    graph, found = SHAPES["grouped"], []
    for threads in (1, 2, 3, 7):
        crew = Crew(library, threads)
        found.append(Conversation(graph, cache, Machine(library, crew)).outputs([33, 1, 5]))
        crew.close()
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("cache", KIND_BYTES)
@pytest.mark.parametrize("chunk", [1, 5, 40])
def test_a_later_token_that_is_broken_breaks_no_earlier_one(
    cache: str, chunk: int, machine: Machine
) -> None:
    talk = Conversation(SHAPES["grouped"], cache, machine)
    clean = talk.outputs([chunk])
    at = TILE + 11
    for name in "kv":
        talk.inputs[name][at] = np.nan
    broken = talk.outputs([chunk])
    np.testing.assert_array_equal(broken[:at], clean[:at])
    assert np.isnan(broken[at:]).all()


@pytest.mark.parametrize("cache", KIND_BYTES)
def test_what_was_forgotten_never_shows(cache: str, machine: Machine) -> None:
    talk = Conversation(SHAPES["grouped"], cache, machine)
    clean = talk.outputs([40])
    for name in "kv":
        talk.inputs[name][:] = np.nan
    talk.outputs([40])
    fresh = Conversation(SHAPES["grouped"], cache, machine)
    talk.inputs = fresh.inputs
    np.testing.assert_array_equal(talk.outputs([40]), clean)


@pytest.mark.parametrize("cache", KIND_BYTES)
def test_an_infinite_number_in_the_cache_is_seen(cache: str, machine: Machine) -> None:
    talk = Conversation(SHAPES["grouped"], cache, machine)
    talk.inputs["v"][3, 5] = np.inf
    found = talk.outputs([40])
    assert np.isfinite(found[:3]).all()
    assert not np.isfinite(found[3:, 5]).any()  # the first head of keys serves output column 5


def test_sequences_side_by_side_are_those_alone(machine: Machine) -> None:
    graph = attention_graph(6, 2, 64, 64, 64, slots=3)
    alone = [Conversation(graph, "f16", machine, seed) for seed in range(3)]
    together = Conversation(graph, "f16", machine)
    expected = [talk.outputs([64]) for talk in alone]
    for start, count in ((0, 20), (20, 1), (21, 2), (23, 41)):
        at = np.repeat(np.arange(start, start + count), 3)
        slots = np.tile(np.arange(3), count)
        mixed = {
            name: np.stack([talk.inputs[name] for talk in alone], 1)[start : start + count]
            for name in "qkv"
        }
        flat = {name: value.reshape(3 * count, -1) for name, value in mixed.items()}
        found = together.node.run(flat, at, slots=slots)["out"]
        for slot in range(3):
            part = expected[slot][start : start + count]
            np.testing.assert_array_equal(found[slot::3], part)


def test_without_causality_all_of_a_run_is_seen(machine: Machine) -> None:
    graph = attention_graph(4, 2, 64, 64, TILE + 20, causal=False)
    talk = Conversation(graph, "f32", machine)
    assert nmse(talk.outputs([512]), talk.truth()) < BOUNDS["f32"]


def test_a_long_context_costs_what_it_holds() -> None:
    layout = KvLayout("f16", 1, 8, 1 << 17, 64, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cache = KvCache(layout)
    cache.keys[:1000] = cache.values[:1000] = 1
    assert len(cache.keys) + len(cache.values) == 8 * (1 << 17) * 2 * 64 * 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB of 262144


@pytest.mark.parametrize(
    ("kind", "bytes_a_token"), [("f32", 2 * 64 * 4), ("f16", 2 * 64 * 2), ("q8_0", 2 * (64 + 4))]
)
def test_a_token_takes_what_its_type_takes(kind: str, bytes_a_token: int) -> None:
    layout = KvLayout(kind, 2, 3, 64, 64, 64)
    assert layout.key_bytes + layout.value_bytes == 2 * 3 * 64 * bytes_a_token


def test_an_unknown_type_of_cache_is_named() -> None:
    with pytest.raises(ValueError, match=r"no cache of q9, known are f32, f16, q8_0"):
        KvLayout("q9", 1, 1, 1, 1, 1)
