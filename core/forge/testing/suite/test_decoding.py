"""L2: decoding, where a backend may sample on its device and submit several tokens at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forge.errors import BackendUnsupported, BackendWrong
from forge.gguf import open_gguf
from forge.sampling import SamplingParams
from forge.testing.remote import RemoteBackend, RemoteExecutable
from forge.testing.suite.models import CONTEXT, EDGES, TinyModel, drawn_alike, prefill

CHOICES = {
    "cut": SamplingParams(temperature=1.5, seed=3, top_k=12, top_p=0.9, min_p=0.0),
    "likely": SamplingParams(temperature=1.5, seed=4, top_k=0, top_p=1.0, min_p=0.2),
    "typical": SamplingParams(temperature=1.2, seed=5, top_k=0, typical_p=0.7, min_p=0.0),
    "repeat": SamplingParams(temperature=0, repeat_penalty=1.8, penalty_window=-1),
    "presence": SamplingParams(temperature=0, presence_penalty=4.0, penalty_window=-1),
    "frequency": SamplingParams(temperature=1.0, seed=6, frequency_penalty=-2.0, penalty_window=16),
    "bias": SamplingParams(temperature=0, logit_bias=dict.fromkeys(range(0, 320, 5), 4.0)),
}
"""Each of the person's choices in turn, as strong as it must be to show. A negative penalty has the
tokens that were made come again: one that is not accepted does not."""
SEEN = list(range(0, 320, 3))
"""Tokens before the prompt, which penalties see as well."""
PROMPT = 20
COUNT = 24


@pytest.fixture
def executable(llama: TinyModel, backend: RemoteBackend) -> Iterator[RemoteExecutable]:
    """The least model, compiled."""
    made = llama.on(backend)
    yield made
    if backend.worker.alive:
        made.close()


@pytest.mark.parametrize("choice", CHOICES)
def test_decode_heeds_everything_that_a_person_can_choose(
    choice: str, llama: TinyModel, executable: RemoteExecutable
) -> None:
    """Penalties see the prompt and every token that was made; cuts come before the draw."""
    prompt, params = list(llama.tokens[:PROMPT]), CHOICES[choice]
    seen, start = [*SEEN, *prompt], PROMPT - 1
    prefill(executable, prompt[:-1])
    found = executable.decode(prompt[-1], start, COUNT, params=params, history=seen).tokens
    assert len(found) == COUNT
    executable.keep(0)
    logits = prefill(executable, [*prompt, *found[:-1]])[start:]
    equal = drawn_alike(params, seen, found, logits, PROMPT)
    assert equal >= COUNT - EDGES, f"{equal} of {COUNT} tokens are what the sampler draws"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_decode_goes_to_the_last_place_of_the_context(
    count: int, llama: TinyModel, executable: RemoteExecutable
) -> None:
    """And not past it, in whatever portions it submits; what was there before is still right."""
    prompt, params = list(llama.tokens[: CONTEXT - count + 1]), SamplingParams(temperature=0)
    prefill(executable, prompt[:-1])
    found = executable.decode(prompt[-1], len(prompt) - 1, count, history=prompt).tokens
    assert len(found) == count
    kept = executable.keep(CONTEXT - 1)
    text = [*prompt, *found[:-1]]
    again = prefill(executable, text[kept:], start=kept)
    executable.keep(0)
    logits = prefill(executable, text)
    np.testing.assert_allclose(again[-1], logits[-1], atol=0.05)
    assert drawn_alike(params, prompt, found, logits[len(prompt) - 1 :], len(prompt)) >= count - 1


def test_decode_yields_the_first_token_long_before_the_last(
    llama: TinyModel, executable: RemoteExecutable
) -> None:
    """A token is a beat: one that makes all of them first is killed at the first long reply."""
    prompt, count = list(llama.tokens[:PROMPT]), CONTEXT - PROMPT
    shares = []
    for _ in range(3):  # the first may compile something
        executable.keep(0)
        prefill(executable, prompt)
        shares.append(executable.decode(3, PROMPT, count, history=prompt).share)
    assert min(shares) < 0.9, f"parts of the time that passed before the first token: {shares}"


@pytest.mark.parametrize("value", [np.nan, 0.0], ids=["nan", "alike"])
def test_decode_raises_where_logits_are_nan_or_all_alike(
    value: float, llama: TinyModel, backend: RemoteBackend, tmp_path: Path
) -> None:
    """It is how a broken device is noticed; only the device may have seen the logits."""
    executable = backend.compile(
        backend.converted(llama.graph)[0], _with_norm(llama.path, value, tmp_path / "bad.gguf")
    )
    prompt = list(llama.tokens[:PROMPT])
    executable.run({"tokens": prompt[:1]}, [0], "none")
    with pytest.raises((BackendWrong, BackendUnsupported)):
        executable.decode(prompt[1], 1, 8, history=prompt)
    executable.close()


def _with_norm(model: Path, value: float, path: Path) -> Path:
    """The same model, with each number of its last norm replaced."""
    with open_gguf(model) as file:
        tensor = file.tensors["output_norm.weight"]
    data = bytearray(model.read_bytes())
    numbers = np.full(tensor.nbytes // 4, value, np.float32)
    data[tensor.offset : tensor.offset + tensor.nbytes] = numbers.tobytes()
    path.write_bytes(data)
    return path
