"""Every architecture as a program: no op falls back to numpy, and chunks change no bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from forge.backend import BackendConfig, Executable, Graph
from forge.expected import LEAST_BOUND
from forge.gguf import GGUFFile, open_gguf
from forge.miniature import miniature
from forge.models import ARCHITECTURES, build_graph
from forge.rehearsal import rehearse
from forge.testing import write_tiny
from forge.testing.tiny_families import FAMILIES
from forge.weights import Weights
from forge_cpu.backend import CpuBackend
from forge_cpu.compiled.choice import MATRICES, all_computed
from forge_cpu.compiled.executable import CompiledExecutable
from forge_cpu.crew import Crew
from forge_cpu.executable import CpuExecutable
from forge_cpu.library import Library

CONTEXT = 48
EXPERT_SIZES = ("expert_feed_forward_length", "expert_shared_feed_forward_length")
MIXTURES = sorted(name for name, family in FAMILIES.items() if family.experts)
USUAL = ("f16", "q8_0", "q4_k")
PAIRS = [(a, quant) for a in ARCHITECTURES for quant in USUAL]
PAIRS += [(a, quant) for a in ("llama", "gpt-oss") for quant in MATRICES if quant not in USUAL]


def model(folder: Path, architecture: str, quant: str, experts: int | None = None) -> GGUFFile:
    """A tiny file whose matrices are rows of whole blocks of any type."""
    metadata = {name: 256 for name in EXPERT_SIZES if name in FAMILIES[architecture].metadata}
    path = write_tiny(
        *(folder / "m.gguf", architecture),
        quant=quant,
        width=256,
        ffn=512,
        vocabulary=64,
        context=CONTEXT,
        experts=experts,
        metadata=metadata,
    )
    return open_gguf(path)


def silent(phase: str, done: int, total: int, detail: str = "") -> None:
    """No one listens."""


def logits(executable: Executable, chunks: list[int]) -> NDArray[np.float32]:
    """Of a sequence that is fed in chunks."""
    tokens = np.random.default_rng(2).integers(0, 64, CONTEXT).astype(np.int32)
    parts, start = [], 0
    for count in chunks:
        positions = np.arange(start, start + count, dtype=np.int32)
        given = {"tokens": tokens[start : start + count]}
        parts += executable.run(given, positions, np.zeros_like(positions), "all").values()
        start += count
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def crew(library: Library) -> Iterator[Crew]:
    made = Crew(library, 2)
    yield made
    made.close()


@pytest.mark.parametrize(("architecture", "quant"), PAIRS)
def test_all_of_it_is_computed_by_kernels(architecture: str, quant: str, tmp_path: Path) -> None:
    with model(tmp_path, architecture, quant) as file:
        graph = build_graph(file, context=CONTEXT)
        assert all_computed(graph)
        for stage in graph.split(1):
            assert all_computed(stage)


def test_a_layer_of_llama_may_be_experts(tmp_path: Path) -> None:
    with model(tmp_path, "llama", "q4_k", experts=4) as file:
        assert all_computed(build_graph(file, context=CONTEXT))


@pytest.mark.parametrize("architecture", [*MIXTURES, "gpt2"])
def test_its_logits_are_those_of_numpy_and_have_the_same_bits_in_any_chunks(
    architecture: str, library: Library, crew: Crew, tmp_path: Path
) -> None:
    with model(tmp_path, architecture, "f32") as file:
        graph: Graph = build_graph(file, context=CONTEXT)
        kernels = CompiledExecutable(graph, Weights(graph, file), silent, library, crew)
        numpy = CpuExecutable(graph, Weights(graph, file), silent)
        whole = logits(kernels, [CONTEXT])
        kernels.keep(0, 0)
        np.testing.assert_array_equal(whole, logits(kernels, [13, 1, 1, 9, 1, 23]))
        truth = logits(numpy, [CONTEXT])
        kernels.close()
    assert np.square(whole - truth).mean() < 1e-9 * np.square(truth).mean()


@pytest.mark.parametrize(("architecture", "quant"), [("qwen2moe", "q4_k"), ("gpt-oss", "mxfp4")])
def test_quantised_experts_have_the_same_bits_in_any_chunks(
    architecture: str, quant: str, library: Library, crew: Crew, tmp_path: Path
) -> None:
    with model(tmp_path, architecture, quant) as file:
        graph = build_graph(file, context=CONTEXT)
        kernels = CompiledExecutable(graph, Weights(graph, file), silent, library, crew)
        whole = logits(kernels, [CONTEXT])
        kernels.keep(0, 0)
        np.testing.assert_array_equal(whole, logits(kernels, [1] * CONTEXT))
        kernels.keep(0, 0)
        np.testing.assert_array_equal(whole, logits(kernels, [31, 1, 16]))
        kernels.close()


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt-oss", "qwen2moe"])
def test_a_program_of_it_in_small_passes_the_rehearsal(architecture: str, tmp_path: Path) -> None:
    backend = CpuBackend(BackendConfig(threads=2))
    try:
        with model(tmp_path, architecture, "q4_k") as file:
            graph = build_graph(file, context=CONTEXT, state_dtype="f16")
            small = miniature(graph, file)
            assert small is not None
            assert all_computed(small.graph)
            worst = rehearse(backend, small, silent, lambda: None)
    finally:
        backend.close()
    assert 0 < worst < LEAST_BOUND / 2
