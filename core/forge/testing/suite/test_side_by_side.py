"""L2: several executables of one backend, and several sequences of one executable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from forge.errors import BackendUnsupported
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.sampling import SamplingParams
from forge.testing.remote import RemoteBackend, RemoteExecutable
from forge.testing.suite.models import CONTEXT, SIZES, TinyModel, drawn_alike, prefill, same
from forge.testing.tiny import write_tiny
from forge.testing.truth import Truth

HALF, WHOLE = 9, 20


def test_executables_of_one_backend_do_not_disturb_each_other(
    backend: RemoteBackend, llama: TinyModel, tmp_path: Path
) -> None:
    """A model, another with the same names, types and sizes, and the first one once more."""
    text, graph = llama.tokens[:WHOLE], backend.converted(llama.graph)[0]
    path = write_tiny(tmp_path / "other.gguf", quant="f16", embedding_quant="f16", seed=1, **SIZES)
    with open_gguf(path) as file:
        (truth,) = Truth(llama.graph, file).run({"tokens": text}, range(WHOLE)).values()
    one = llama.on(backend)
    begun = prefill(one, text[:HALF])
    other, third = backend.compile(graph, path), llama.on(backend)
    same(prefill(other, text), truth)
    ended = prefill(one, text[HALF:], start=HALF)
    same(np.concatenate([begun, ended]), llama.logits[:WHOLE])
    one.close()
    same(prefill(third, text), llama.logits[:WHOLE])
    third.close()
    other.keep(0)
    same(prefill(other, text), truth)
    other.close()


def test_executables_decode_in_turns_as_each_does_alone(
    backend: RemoteBackend, llama: TinyModel, tmp_path: Path
) -> None:
    """Between two tokens of a reply forge runs the model in small, `decode` and all."""
    text, graph = llama.tokens[:HALF], backend.converted(llama.graph)[0]
    path = write_tiny(tmp_path / "other.gguf", quant="f16", embedding_quant="f16", seed=1, **SIZES)
    one, other = llama.on(backend), backend.compile(graph, path)
    alone = []
    for executable in (one, other):
        prefill(executable, text)
        alone.append(executable.decode(3, HALF, 12, history=text).tokens)
        executable.keep(0)
        prefill(executable, text)
    found = one.decode(3, HALF, 12, history=text, beside=other)
    assert [found.tokens, found.beside] == alone
    assert alone[0] != alone[1]
    one.close()
    other.close()


@pytest.fixture
def two(backend: RemoteBackend, llama: TinyModel) -> Iterator[RemoteExecutable]:
    """The least model with two slots; a backend may have one only."""
    with open_gguf(llama.path) as file:
        graph = build_graph(file, context=CONTEXT, slots=2)
    try:
        taken = backend.converted(graph)[0]
    except BackendUnsupported as error:
        pytest.skip(f"unsupported: {error}")
    made = backend.compile(taken, llama.path)
    yield made
    if backend.worker.alive:
        made.close()


def alone(executable: RemoteExecutable, texts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Each slot's logits when nothing is in the other one."""
    found = []
    for slot, text in enumerate(texts):
        found.append(prefill(executable, text, slot=slot))
        executable.keep(0, slot=slot)
    return found


def test_two_sequences_in_one_run_are_each_as_if_it_were_alone(
    two: RemoteExecutable, llama: TinyModel
) -> None:
    """At different positions, and in turns."""
    texts = llama.tokens[:WHOLE], llama.tokens[40 : 40 + WHOLE]
    first, second = alone(two, texts)
    same(first, llama.logits[:WHOLE])
    ahead = 5
    prefill(two, texts[1][:ahead], slot=1)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for at in range(WHOLE - ahead):
        tokens, positions, slots = [texts[0][at], texts[1][at + ahead]], [at, at + ahead], [0, 1]
        if two.chunk >= 2:
            (rows,) = two.run({"tokens": tokens}, positions, slots=slots).values()
        else:
            rows = np.concatenate(
                [
                    *two.run({"tokens": tokens[:1]}, positions[:1], slots=0).values(),
                    *two.run({"tokens": tokens[1:]}, positions[1:], slots=1).values(),
                ]
            )
        for part, row in zip(parts, rows, strict=True):
            part.append(row)
    same(np.stack(parts[0]), first[: WHOLE - ahead])
    same(np.stack(parts[1]), second[ahead:])


def test_what_one_slot_forgets_the_other_keeps(two: RemoteExecutable, llama: TinyModel) -> None:
    """`keep` and `decode` are for one slot."""
    texts = llama.tokens[:WHOLE], llama.tokens[40 : 40 + WHOLE]
    first, second = alone(two, texts)
    for slot, text in enumerate(texts):
        prefill(two, text[:HALF], slot=slot)
    kept = two.keep(3, slot=1)
    same(prefill(two, texts[0][HALF:], start=HALF, slot=0), first[HALF:])
    same(prefill(two, texts[1][kept:], start=kept, slot=1), second[kept:])
    assert two.keep(0, slot=0) == 0
    found = two.decode(3, WHOLE, 8, slot=1, history=texts[1]).tokens
    two.keep(0, slot=1)
    logits = prefill(two, [*texts[1], 3, *found[:-1]], slot=1)[WHOLE:]
    greedy = SamplingParams(temperature=0)
    assert drawn_alike(greedy, [*texts[1], 3], found, logits, WHOLE + 1) >= len(found) - 1
