"""The model in small is computed before it serves: honest backends pass, broken ones are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge.backend import BackendConfig, Executable, Graph, Node, Op, Progress, Rows, Sampler
from forge.backend import Weight as ModelWeight
from forge.errors import BackendWrong
from forge.expected import LEAST_BOUND
from forge.gguf import GGUFFile, open_gguf
from forge.miniature import Miniature, miniature
from forge.models import ARCHITECTURES, build_graph
from forge.probe import check
from forge.rehearsal import rehearse
from forge.testing import write_tiny
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
Wrap = Callable[[Executable, Executable], Executable]


def silent(*_: object) -> None:
    """No one listens."""


def model(folder: Path, architecture: str, quant: str = "q8_0") -> GGUFFile:
    path = folder / "m.gguf"
    return open_gguf(write_tiny(path, architecture, quant=quant, layers=4, vocabulary=300))


def small(file: GGUFFile) -> Miniature:
    found = miniature(build_graph(file), file)
    assert found is not None
    return found


class Wrapping(NumpyBackend):
    """Compiles what it is given twice, or a changed graph, and hands out what is made of both."""

    def __init__(self, wrap: Wrap, change: Callable[[Node], Node] = lambda node: node) -> None:
        super().__init__(BackendConfig(threads=1))
        self._wrap, self._change = wrap, change

    def compile(
        self, graph: Graph, weights: Mapping[str, ModelWeight], progress: Progress
    ) -> Executable:
        changed = replace(graph, nodes=tuple(map(self._change, graph.nodes)))
        first, second = (super(Wrapping, self).compile(changed, weights, progress) for _ in "12")
        return self._wrap(first, second)


class Wrapped(Executable):
    """Passes everything on; what it is made of may break it."""

    def __init__(self, honest: Executable, other: Executable) -> None:
        self.honest, self.other = honest, other
        self.singles = 0

    @property
    def graph(self) -> Graph:
        return self.honest.graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        return self.honest.run(inputs, positions, slots, rows)


class Stale(Wrapped):
    """Of tokens that come alone, half find no keys and values of those before them."""

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        if len(positions) > 1:
            self.other.run(inputs, positions, slots, rows)
            return self.honest.run(inputs, positions, slots, rows)
        self.singles += 1
        chosen = self.honest if self.singles % 2 else self.other
        return chosen.run(inputs, positions, slots, rows)


class Misplaced(Wrapped):
    """A token alone takes the place of the one before it."""

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        moved = positions - 1 if len(positions) == 1 else positions
        return self.honest.run(inputs, moved, slots, rows)


class Ahead(Wrapped):
    """Its own way to decode skips a position."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        return super().decode(token, start + 1, count, sampler, slot)


class Parrot(Wrapped):
    """Its own way to decode says next to what it found."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for found in super().decode(token, start, count, sampler, slot):
            yield found ^ 1


class Babbler(Wrapped):
    """Its own way to decode says what is no token."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for found in super().decode(token, start, count, sampler, slot):
            yield found + 100_000


class Clinging(Wrapped):
    """Says that it forgot, and goes on where it was."""

    def __init__(self, honest: Executable, other: Executable) -> None:
        super().__init__(honest, other)
        self.reached, self.ahead = 0, 0

    def keep(self, slot: int, count: int) -> int:
        self.ahead = self.reached - count
        return super().keep(slot, count)

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        self.reached = int(positions[-1]) + 1
        return self.honest.run(inputs, positions + np.int32(self.ahead), slots, rows)


def own_residual(node: Node) -> Node:
    """A residual that forgets what it should be added to."""
    wrong = node.op is Op.ADD and node.name.endswith("attn_residual")
    return replace(node, inputs=(node.inputs[0],) * 2) if wrong else node


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("quant", ["q8_0", "f32"])
def test_every_architecture_has_a_small_one_that_honest_backends_compute(
    architecture: str, quant: str, tmp_path: Path
) -> None:
    with model(tmp_path, architecture, quant) as file:
        graph, made = build_graph(file), small(file)
        backend = NumpyBackend(BackendConfig(threads=1))
        assert rehearse(backend, made, silent, silent) < 1e-9
        assert {n.op for n in graph.nodes} == {n.op for n in made.graph.nodes}
        ways = {(n.op, n.attrs.get("window", 0) > 0) for n in graph.nodes}
        assert ways == {(n.op, n.attrs.get("window", 0) > 0) for n in made.graph.nodes}
        assert len({n.layer for n in made.graph.nodes}) < len({n.layer for n in graph.nodes})


def test_a_large_model_becomes_small(tmp_path: Path) -> None:
    path = write_tiny(
        *(tmp_path / "m.gguf", "llama"),
        quant="q4_k",
        width=768,
        heads=12,
        kv_heads=6,
        ffn=1024,
        vocabulary=600,
    )
    with open_gguf(path) as file:
        made = small(file)
        shapes = {name: spec.shape for name, spec in made.graph.weights.items()}
        assert shapes["token_embd.weight"] == shapes["output.weight"] == (256, 256)
        assert shapes["blk.0.attn_q.weight"] == shapes["blk.0.attn_output.weight"][::-1]
        assert shapes["blk.0.attn_output.weight"] == (256, 256)  # two of 64 are no whole block
        assert shapes["blk.0.attn_k.weight"] == (128, 256)
        assert shapes["blk.0.ffn_down.weight"] == (256, 512)
        assert rehearse(NumpyBackend(BackendConfig(threads=1)), made, silent, silent) < 1e-9


def test_stages_are_rehearsed_too(tmp_path: Path) -> None:
    with model(tmp_path, "gemma3") as file:
        for stage in build_graph(file).split(2):
            made = miniature(stage, file)
            assert made is not None
            assert rehearse(NumpyBackend(BackendConfig(threads=1)), made, silent, silent) < 1e-9


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt-oss", "olmo2", "gpt2"])
@pytest.mark.parametrize(
    ("wrap", "change", "when"),
    [
        (Stale, None, "(token by token|in decode|after decode)"),
        (Misplaced, None, "token by token"),
        (Ahead, None, "in decode"),
        (Parrot, None, "in decode"),
        (Babbler, None, "in decode"),
        (Clinging, None, "after it forgot"),
        (Wrapped, own_residual, "after a prompt"),
    ],
    ids=["stale", "misplaced", "ahead", "parrot", "babbler", "clinging", "residual"],
)
def test_what_single_nodes_do_not_show_is_found_out(
    wrap: Wrap,
    change: Callable[[Node], Node] | None,
    when: str,
    architecture: str,
    tmp_path: Path,
) -> None:
    with model(tmp_path, architecture) as file:
        broken = Wrapping(wrap, change) if change else Wrapping(wrap)
        with pytest.raises(BackendWrong, match=f"in small wrongly {when}: error .*, bound 0.00"):
            rehearse(broken, small(file), silent, silent)


def test_rounding_to_eight_bits_is_no_fault(tmp_path: Path) -> None:
    class Rounding(Wrapped):
        def run(
            self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
        ) -> dict[str, Array]:
            (out,) = super().run(inputs, positions, slots, rows).values()
            step = np.abs(out).max(axis=-1, keepdims=True) / 127
            return {self.graph.outputs[0]: np.round(out / step) * step}

    with model(tmp_path, "llama") as file:
        assert 0 < rehearse(Wrapping(Rounding), small(file), silent, silent) < LEAST_BOUND / 10


def test_the_check_before_a_model_serves_ends_with_it(tmp_path: Path) -> None:
    beats: list[tuple[int, int, str]] = []
    with model(tmp_path, "llama") as file:
        graph = build_graph(file)
        check(NumpyBackend(BackendConfig(threads=1)), graph, file, lambda *b: beats.append(b))
        *_, before, last = beats
        assert before[2] == last[2] == "the model in small"
        assert before[0] + 1 == last[0] == last[1]
        with pytest.raises(BackendWrong, match="in small wrongly token by token"):
            check(Wrapping(Stale), graph, file, silent)
