"""The reference equals the recorded truth, the models are alive, and no planted bug goes unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forge.graph import Graph, Op
from forge.weights import Weight

from .bugs import BUGS

Array = np.ndarray[Any, Any]

BOUND = 1e-5
"""The most that mean KL(truth ‖ forge) may be; a planted bug is at least ten times above."""


def test_the_reference_equals_the_truth(
    truth: Any,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    logits = evaluate(load(truth.path), truth.tokens)
    assert logits.dtype == np.float32
    assert kl(truth.logits, logits).mean() <= BOUND
    assert (truth.logits.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_the_logits_are_alive(truth: Any) -> None:
    assert truth.logits.std() >= 2
    assert truth.logits.std(axis=1).min() >= 1.4
    assert len(set(truth.logits.argmax(axis=1))) >= 10


def test_attention_is_far_from_uniform(truth: Any, load: Callable[..., Any]) -> None:
    count = len(truth.tokens)
    last = max(n.layer for n in load(truth.path).graph.nodes if n.op is Op.ATTENTION)
    for layer in range(last + 1):
        graph = load(truth.path).graph
        (node,) = (n for n in graph.nodes if n.name == f"blk.{layer}.attn")
        names = node.inputs[:2]

        def watch(graph: Graph, names: tuple[str, ...] = names) -> Graph:
            return replace(graph, outputs=(*graph.outputs, *names))

        executable = load(truth.path, watch)
        out = executable.run(
            {"tokens": np.array(truth.tokens, np.int32)},
            np.arange(count, dtype=np.int32),
            np.zeros(count, np.int32),
            "all",
        )
        heads, kv_heads = int(node.attrs["heads"]), int(node.attrs["kv_heads"])
        q = out[names[0]].reshape(count, heads, -1)
        k = out[names[1]].reshape(count, kv_heads, -1).repeat(heads // kv_heads, axis=1)
        share = []
        window, cap = (float(node.attrs.get(name, 0)) for name in ("window", "softcap"))
        for at in range(8, count):
            scores = np.einsum("hd,shd->hs", q[at], k[: at + 1]) * node.attrs["scale"]
            scores = scores[:, -int(window) :]
            scores = np.tanh(scores / cap) * cap if cap else scores
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
            share.append(entropy.mean() / np.log(scores.shape[1]))
        assert np.mean(share) < 0.7, f"layer {layer}"


def test_the_order_of_the_prompt_matters(
    truth: Any,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    shuffled = np.random.default_rng(0).permutation(truth.tokens[:20]).tolist()
    logits = evaluate(load(truth.path), [*shuffled, *truth.tokens[20:]])
    assert kl(truth.logits[20:], logits[20:]).mean() >= 0.1


@pytest.mark.parametrize(
    ("bug", "model"), [(bug, model) for bug, (_, models) in BUGS.items() for model in models]
)
def test_a_wrong_graph_is_far_above_the_bound(
    bug: str,
    model: str,
    truths: Callable[[str], Any],
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    truth = truths(model)
    logits = evaluate(load(truth.path, BUGS[bug][0]), truth.tokens)
    assert kl(truth.logits, logits).mean() >= 10 * BOUND


class Rolled(Weight):
    """Its heads one further on."""

    def __init__(self, weight: Weight, heads: int) -> None:
        self.spec, self._weight, self._heads = weight.spec, weight, heads

    def dense(self, dtype: Any = np.float32) -> Array:
        rows = self._weight.dense(dtype)
        return np.roll(rows, len(rows) // self._heads, axis=0)

    def release(self) -> None:
        self._weight.release()


@pytest.mark.parametrize("model", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tensors", [("attn_k", "attn_v"), ("attn_k",), ("attn_v",), ("attn_q",)])
def test_permuted_heads_are_far_above_the_bound(
    tensors: tuple[str, ...],
    model: str,
    truths: Callable[[str], Any],
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    truth = truths(model)
    heads = 4 if tensors == ("attn_q",) else 2

    def swap(name: str, weight: Weight) -> Weight:
        return Rolled(weight, heads) if any(t in name for t in tensors) else weight

    logits = evaluate(load(truth.path, None, swap), truth.tokens)
    assert kl(truth.logits, logits).mean() >= 10 * BOUND


def test_a_position_too_far_or_too_near_is_far_above_the_bound(
    truth: Any,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    for error in (1, -1):
        executable = load(truth.path)
        evaluate(executable, truth.tokens[:20], rows="none")
        logits = evaluate(executable, truth.tokens[20:], 20 + error)
        assert kl(truth.logits[20:], logits).mean() >= 10 * BOUND


def test_keys_and_values_of_another_prompt_are_far_above_the_bound(
    truth: Any,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    executable = load(truth.path)
    stale = [*truth.tokens[:10], (truth.tokens[10] + 1) % 40, *truth.tokens[11:20]]
    evaluate(executable, stale, rows="none")
    logits = evaluate(executable, truth.tokens[20:], 20)
    assert kl(truth.logits[20:], logits).mean() >= 10 * BOUND
