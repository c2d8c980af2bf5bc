"""The example of a backend, as its reader tries it: right, whole, replaced when it fails."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from forge import BackendSpec, Engine
from forge.backend import (
    Array,
    BackendConfig,
    BackendError,
    BackendUnavailable,
    Executable,
    Graph,
    Node,
    Op,
    Rows,
    attributes,
    reference,
)
from forge.conversion import convert
from forge.gguf import GGUFFile, open_gguf
from forge.models import build_graph
from forge.testing import faulty, write_tiny
from forge.weights import Weights
from forge_cpu.plain import NumpyBackend

from .conftest import CPU, GREEDY, done

FOLDER = Path(__file__).parents[2] / "examples/forge-backend-example"
EXAMPLE = BackendSpec(
    "example", "forge_backend_example:ExampleBackend", env={"PYTHONPATH": str(FOLDER)}
)
TOKENS = [7, 3, 200, 3, 11, 12, 90, 91, 5, 5, 250]
PROMPT = list(range(60, 100))
NMSE = 1e-10
"""Float32 against float64 over two layers."""
CONVERTED = 1e-4
"""Q4_0 has four bits for each number and 11 for its scale: their product is rounded to F16."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The module, imported from its folder."""
    name = "forge_backend_example"
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture
def load(example: ModuleType):
    """Open the backend and load a file; the graph as it was converted comes with it."""

    def load_(path: Path, **graph: Any) -> tuple[Executable, Graph, GGUFFile]:
        file = open_gguf(path)
        backend = example.ExampleBackend(BackendConfig())
        asked, _ = convert(build_graph(file, **graph), backend)
        executable = backend.compile(asked, Weights(asked, file), lambda *_: None)
        return executable, asked, file

    return load_


def run(
    executable: Executable, tokens: list[int], start: int = 0, rows: Rows = "all", slot: int = 0
) -> Array:
    at = np.arange(start, start + len(tokens), dtype=np.int32)
    ids = {executable.inputs[0]: np.array(tokens, np.int32)}
    (out,) = executable.run(ids, at, np.full_like(at, slot), rows).values()
    return out


def exact(graph: Graph, file: GGUFFile, tokens: list[int]) -> Array:
    """The logits in float64, by the definition of every op."""
    at = np.arange(len(tokens), dtype=np.int32)
    values: dict[str, Array] = {
        **{n: w.dense().astype(np.float64) for n, w in Weights(graph, file).items()},
        **{n: np.zeros(s.shape) for n, s in graph.state.items()},
        "tokens": np.array(tokens),
        "positions": at,
        "slots": np.zeros_like(at),
        "rows": at,
    }
    for node in graph.nodes:
        arguments = [values[name] for name in node.inputs]
        values[node.name] = reference.KERNELS[node.op](*arguments, **attributes(node))
    return values[graph.outputs[0]]


def error(got: Array, truth: Array) -> float:
    return float(np.square(got - truth).mean() / np.square(truth).mean())


@pytest.mark.parametrize("quant", ["f16", "f32", "q8_0", "q4_0", "bf16"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_logits_are_those_of_the_definition(load, tmp_path, architecture, quant) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture, quant=quant, tied=quant == "q8_0")
    executable, graph, file = load(path)
    kept = {"f32", quant} if quant in ("f16", "f32", "q8_0") else {"f32", "f16"}
    assert {spec.dtype for spec in graph.weights.values()} == kept
    assert error(run(executable, TOKENS), exact(graph, file, TOKENS)) < NMSE


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_weights_converted_for_it_give_the_cpus_logits(load, tmp_path, architecture) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture, quant="q4_0")
    executable, _, file = load(path)
    asked = build_graph(file)
    cpu = NumpyBackend(BackendConfig(threads=1))
    truth = run(cpu.compile(asked, Weights(asked, file), lambda *_: None), TOKENS)
    cpu.close()
    assert error(run(executable, TOKENS), truth) < CONVERTED


@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 1), (6, 2), (6, 6)])
def test_heads_share_keys_in_groups_of_any_size(load, tmp_path, heads, kv_heads) -> None:
    shape = {"heads": heads, "kv_heads": kv_heads, "head_size": 10, "width": 60}
    executable, graph, file = load(write_tiny(tmp_path / "m.gguf", "qwen3", **shape))
    assert error(run(executable, TOKENS), exact(graph, file, TOKENS)) < NMSE


def test_a_matrix_larger_than_what_is_expanded_at_once_has_all_its_rows(load, tmp_path) -> None:
    path = write_tiny(tmp_path / "m.gguf", quant="q8_0", vocabulary=5003, width=64, layers=1)
    executable, graph, file = load(path)
    assert error(run(executable, TOKENS), exact(graph, file, TOKENS)) < NMSE


def test_a_prompt_gives_the_same_logits_whole_in_chunks_and_token_by_token(load, tmp_path) -> None:
    executable, _, _ = load(write_tiny(tmp_path / "m.gguf", "qwen2", quant="q8_0"))
    whole = run(executable, TOKENS)
    executable.keep(0, 0)
    chunks = [run(executable, TOKENS[:4]), run(executable, TOKENS[4:], 4)]
    executable.keep(0, 0)
    single = [run(executable, [token], at) for at, token in enumerate(TOKENS)]
    assert error(np.concatenate(chunks), whole) < NMSE
    assert error(np.concatenate(single), whole) < NMSE
    last = run(executable, TOKENS[-1:], len(TOKENS) - 1, "last")
    assert error(last, whole[-1:]) < NMSE
    assert run(executable, TOKENS[:2], 0, "none").shape == (0, 256)


def test_what_was_cut_off_the_cache_never_shows_again(load, tmp_path) -> None:
    executable, _, _ = load(write_tiny(tmp_path / "m.gguf"))
    run(executable, TOKENS[:5])
    fresh = run(executable, TOKENS[5:], 5)
    for state in executable._state.values():
        state[:, :, 5:] = np.nan
    assert executable.keep(0, 5) == 5
    np.testing.assert_array_equal(run(executable, TOKENS[5:], 5), fresh)


def test_two_sequences_at_once_do_not_see_each_other(load, tmp_path) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    executable, _, _ = load(path, slots=2)
    alone = [run(executable, TOKENS, slot=0), run(executable, TOKENS[::-1], slot=1)]
    mixed = np.array([*TOKENS, *TOKENS[::-1]], np.int32)
    at = np.tile(np.arange(len(TOKENS), dtype=np.int32), 2)
    slots = np.repeat(np.arange(2, dtype=np.int32), len(TOKENS))
    both = executable.run({"tokens": mixed}, at, slots, "all")["logits"]
    assert error(both, np.concatenate(alone)) < NMSE


def test_a_number_that_is_none_shows_in_its_own_row_and_the_later_ones(load, tmp_path) -> None:
    whole, graph, file = load(write_tiny(tmp_path / "m.gguf"))
    _, stage = graph.split(1)
    executable = type(whole)(stage, Weights(stage, file), lambda *_: None)
    hidden = np.random.default_rng(0).standard_normal((6, 64), np.float32)
    at = np.arange(6, dtype=np.int32)
    (name,) = executable.inputs
    clean = executable.run({name: hidden}, at, at * 0, "all")["logits"]
    for bad in (np.nan, np.inf, -np.inf):
        damaged = hidden.copy()
        damaged[3, 17] = bad
        out = executable.run({name: damaged}, at, at * 0, "all")["logits"]
        np.testing.assert_array_equal(out[:3], clean[:3])
        assert not np.isfinite(out[3:]).any()


def test_ops_and_attributes_that_it_lacks_are_refused_by_name(load, example, tmp_path) -> None:
    _, graph, _ = load(write_tiny(tmp_path / "m.gguf"))
    backend, specs = example.ExampleBackend(BackendConfig()), graph.validate()
    (node, *_) = [node for node in graph.nodes if node.op is Op.ATTENTION]
    assert backend.supports(node, specs)
    for attr in ({"window": 4}, {"softcap": 30.0}, {"causal": False}):
        changed = Node(node.name, node.op, node.inputs, {**node.attrs, **attr})
        assert not backend.supports(changed, specs)
    assert not backend.supports(Node("x", Op.SOFTCAP, ("embd",), {"cap": 3.0}), specs)


def test_each_weight_is_a_beat_and_tied_embeddings_are_held_once(load, example, tmp_path) -> None:
    _, graph, file = load(write_tiny(tmp_path / "m.gguf", quant="f16", tied=True))
    beats: list[tuple[Any, ...]] = []
    backend = example.ExampleBackend(BackendConfig())
    executable = backend.compile(graph, Weights(graph, file), lambda *beat: beats.append(beat))
    total = len(graph.weights)
    assert [beat[:3] for beat in beats] == [("load", n, total) for n in range(1, total + 1)]
    held = {id(weight) for weight in executable._weights.values()}
    assert len(held) == len(graph.distinct_weights())
    memory = backend.memory()
    assert 0 < backend.required(graph) < memory.free <= memory.total


def test_a_device_that_is_not_there_is_refused_with_those_that_are(example) -> None:
    assert example.ExampleBackend(BackendConfig(device="0")).devices()[0].id == "0"
    with pytest.raises(BackendUnavailable, match="no device 'gpu'; there is only 0"):
        example.ExampleBackend(BackendConfig(device="gpu"))


def test_after_close_nothing_runs(load, tmp_path) -> None:
    executable, _, _ = load(write_tiny(tmp_path / "m.gguf"))
    run(executable, TOKENS)
    executable.close()
    executable.close()
    with pytest.raises(BackendError, match="closed"):
        run(executable, TOKENS)


def test_it_imports_numpy_and_the_contract_alone() -> None:
    lines = (FOLDER / "forge_backend_example.py").read_text().splitlines()
    modules = {m[1] for line in lines if (m := re.match(r"(?:from|import) (\S+)", line))}
    foreign = {m for m in modules if m.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"numpy", "forge.backend"}


@pytest.mark.parametrize("quant", ["f16", "q8_0"])
def test_its_replies_are_the_cpus_in_both_turns(tmp_path, quant) -> None:
    model = write_tiny(tmp_path / "m.gguf", quant=quant, tokenizer="bytes", context=512)
    turns = []
    for backend in (EXAMPLE, CPU):
        with Engine.open(model, backend=backend, fallback_to=[CPU]) as engine:
            session = engine.chat()
            for text in ("Why is the sky blue?", "And at night?"):
                reply = done(session.send(text, GREEDY, max_tokens=9))
                assert (reply.backend, reply.fallbacks) == (backend.name, ())
                turns.append((reply.prompt_tokens, reply.tokens))
    assert turns[:2] == turns[2:]


def test_a_reply_that_it_cannot_finish_goes_on_with_the_cpu(model) -> None:
    with Engine.open(model, backend=CPU) as engine:
        undisturbed = done(engine.generate(PROMPT, GREEDY, max_tokens=9, stop_ids=()))
    dies = faulty("dies", of=EXAMPLE, fault="die", phase="decode", step=4)
    with Engine.open(model, backend=dies, fallback_to=[CPU]) as engine:
        reply = done(engine.generate(PROMPT, GREEDY, max_tokens=9, stop_ids=()))
    (moved,) = reply.fallbacks
    assert (moved.source, moved.target, reply.backend) == ("dies", "cpu", "cpu")
    assert moved.at_token == 4
    assert reply.tokens == undisturbed.tokens
