"""The reference equals the recorded truth, the models are alive, and no planted bug goes unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forge.graph import Graph, Node, Op
from forge.weights import Weight

Array = np.ndarray[Any, Any]
Change = Callable[[Node], Node]

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


def on(op: Op, change: Change, ending: str = "") -> Callable[[Graph], Graph]:
    """Change every node of an op, or those of it whose name ends so."""

    def changed(graph: Graph) -> Graph:
        chosen = [n for n in graph.nodes if n.op is op and n.name.endswith(ending)]
        assert chosen, "the bug has nothing to bite"
        nodes = tuple(change(n) if n in chosen else n for n in graph.nodes)
        graph = replace(graph, nodes=nodes)
        graph.validate()
        return graph

    return changed


def attrs(**values: Any) -> Change:
    return lambda node: replace(node, attrs={**node.attrs, **values})


def frequencies(change: Callable[[Array], Array]) -> Change:
    def changed(node: Node) -> Node:
        given = node.attrs["frequencies"]
        assert isinstance(given, tuple)
        return attrs(frequencies=tuple(map(float, change(np.array(given)))))(node)

    return changed


def passed_on(node: Node) -> Node:
    """Gives its first input back."""
    return Node(node.name, Op.SCALE, node.inputs[:1], {"factor": 1.0}, node.layer)


def other_style(node: Node) -> Node:
    return attrs(style="neox" if node.attrs["style"] == "norm" else "norm")(node)


def swapped(node: Node) -> Node:
    return replace(node, inputs=node.inputs[::-1])


def without(count: int) -> Change:
    """Its last inputs left out."""
    return lambda node: replace(node, inputs=node.inputs[:-count])


def normalised_otherwise(node: Node) -> Node:
    return attrs(normalize=not node.attrs["normalize"])(node)


def gate_for_up(node: Node) -> Node:
    x, scores, gate, up, *others = node.inputs
    return replace(node, inputs=(x, scores, up, gate, *others))


def norm_by_head(graph: Graph) -> Graph:
    """The weights of the first head for every head, each normalised by itself."""
    weights = {
        name: replace(w, shape=(16,), rows=(0, 16)) if "_norm" in name and "attn_q" in name else w
        for name, w in graph.weights.items()
    }
    return replace(graph, weights=weights)


def turned_everywhere(graph: Graph) -> Graph:
    """The layers without positions turn like the first one."""
    ropes = {e: n for e in "qk" for n in graph.nodes if n.name == f"blk.0.{e}_rope"}
    nodes: list[Node] = []
    for node in graph.nodes:
        changed = node
        if node.op is Op.ATTENTION and "rope" not in node.inputs[0]:
            names = []
            for rope, given in zip(ropes.values(), node.inputs[:2], strict=True):
                inputs = (given, "positions")
                nodes.append(replace(rope, name=f"{given}_rope", inputs=inputs, layer=node.layer))
                names.append(f"{given}_rope")
            changed = replace(node, inputs=(*names, *node.inputs[2:]))
        nodes.append(changed)
    return replace(graph, nodes=tuple(nodes))


def rms_for_layer_norm(graph: Graph) -> Graph:
    """The mean stays; the bias as well."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op is not Op.LAYER_NORM:
            nodes.append(node)
            continue
        x, weight, bias = node.inputs
        inner = f"{node.name}_inner"
        nodes.append(replace(node, name=inner, op=Op.RMS_NORM, inputs=(x, weight)))
        nodes.append(Node(node.name, Op.ADD, (inner, bias), {}, node.layer))
    return replace(graph, nodes=tuple(nodes))


def rows_of_another(one: str, other: str) -> Callable[[Graph], Graph]:
    """The rows of one projection where the other's should be, as many as there are of both."""

    def changed(graph: Graph) -> Graph:
        weights = dict(graph.weights)
        for layer in range(2):
            names = [n.inputs[1] for e in (one, other) for n in graph.nodes
                     if n.name == f"blk.{layer}.{e}"]  # fmt: skip
            first, second = (weights[name] for name in names)
            assert first.rows
            assert second.rows
            weights[names[1]] = replace(
                second, rows=(first.rows[0], first.rows[0] + second.shape[0])
            )
        return replace(graph, weights=weights)

    return changed


def shorter(f: Array) -> Array:
    plain = 1e4 ** (-np.arange(len(f)) / len(f))
    return np.asarray(plain / np.linspace(1.0, 1.5, len(f)))


def one_layer_late(graph: Graph) -> Graph:
    """The first layer's cache serves the second as well: every layer has the same keys."""
    nodes = tuple(
        replace(n, inputs=(n.inputs[0], "blk.0.k_rope", *n.inputs[2:])) if n.name == "blk.1.attn"
        else n
        for n in graph.nodes
    )  # fmt: skip
    return replace(graph, nodes=nodes)


def change_window(by: int) -> Change:
    def changed(node: Node) -> Node:
        window = node.attrs.get("window")
        return attrs(window=window + by)(node) if isinstance(window, int) and window else node

    return changed


def everywhere(*endings: str) -> Callable[[Graph], Graph]:
    """Every layer turns as the first one does."""

    def changed(graph: Graph) -> Graph:
        first = {e: n for n in graph.nodes for e in endings if n.name == f"blk.0.{e}"}
        nodes = tuple(
            replace(n, attrs=first[n.name.rpartition(".")[2]].attrs) if n.op is Op.ROPE else n
            for n in graph.nodes
        )
        return replace(graph, nodes=nodes)

    return changed


ANY = ["llama", "qwen2", "qwen3"]
GEMMA = ["gemma", "gemma2", "gemma3"]
WINDOWED = ["gemma2", "gemma3", "gpt-oss", "olmo3"]
POST = ["gemma2", "gemma3", "olmo2"]
GRANITE = ["granite", "granitemoe"]
PLAIN = ["starcoder2", "gpt2"]
MIXED = ["qwen3moe", "qwen2moe", "mixtral"]
BUGS: dict[str, tuple[Callable[[Graph], Graph], Sequence[str]]] = {
    "no rope": (on(Op.ROPE, frequencies(lambda f: 0 * f)), ANY),
    "no rope on k": (on(Op.ROPE, frequencies(lambda f: 0 * f), "k_rope"), ANY),
    "a rope base of twice the size": (
        on(Op.ROPE, frequencies(lambda f: f * 2.0 ** (-np.arange(len(f)) / len(f)))),
        ANY,
    ),
    "the other rope style": (on(Op.ROPE, other_style), ANY),
    "half of each head rotated": (on(Op.ROPE, frequencies(lambda f: f[: len(f) // 2])), ANY),
    "rope backwards": (on(Op.ROPE, frequencies(lambda f: -f), "q_rope"), ANY),
    "no rope scaling": (
        on(Op.ROPE, frequencies(lambda f: 1e4 ** (-np.arange(len(f)) / len(f)))),
        ["llama-linear", "llama-llama3", "qwen2-yarn", "qwen3-yarn-f16"],
    ),
    "no yarn magnitude": (on(Op.ROPE, attrs(magnitude=1.0)), ["qwen2-yarn", "qwen3-yarn-f16"]),
    "no causal mask": (on(Op.ATTENTION, attrs(causal=False)), ANY),
    "a window of 16": (on(Op.ATTENTION, attrs(window=16)), ANY),
    "no attention scale": (on(Op.ATTENTION, attrs(scale=1.0)), ANY),
    "scale by the model's width": (on(Op.ATTENTION, attrs(scale=64**-0.5)), ANY),
    "keys of another layer": (one_layer_late, ANY),
    "gate and up swapped": (on(Op.SILU_MUL, swapped), ANY),
    "gelu for silu": (on(Op.SILU_MUL, lambda n: replace(n, op=Op.GELU_MUL)), ANY),
    "no head norms": (on(Op.RMS_NORM, passed_on, "k_norm"), ["qwen3", "qwen3-yarn-f16"]),
    "no query norm": (on(Op.RMS_NORM, passed_on, "q_norm"), ["qwen3"]),
    "no q bias": (on(Op.ADD, passed_on, ".q"), ["qwen2", "qwen2-yarn"]),
    "no k bias": (on(Op.ADD, passed_on, ".k"), ["qwen2", "qwen2-yarn"]),
    "no v bias": (on(Op.ADD, passed_on, ".v"), ["qwen2", "qwen2-yarn"]),
    "no residual": (on(Op.ADD, passed_on, "residual"), ANY),
    "no output norm": (on(Op.RMS_NORM, passed_on, "output_norm"), ANY),
    "an epsilon of 0.1": (on(Op.RMS_NORM, attrs(epsilon=0.1)), ANY),
    "a window one too long": (on(Op.ATTENTION, change_window(1)), WINDOWED),
    "a window one too short": (on(Op.ATTENTION, change_window(-1)), WINDOWED),
    "no window": (on(Op.ATTENTION, attrs(window=0)), WINDOWED),
    "a window in every layer": (on(Op.ATTENTION, attrs(window=7)), WINDOWED),
    "one rope base for all layers": (everywhere("q_rope", "k_rope"), ["gemma3", "olmo3"]),
    "silu for gelu": (on(Op.GELU_MUL, lambda n: replace(n, op=Op.SILU_MUL)), GEMMA),
    "no scale of the embedding": (on(Op.SCALE, passed_on), GEMMA),
    "no norm after attention": (on(Op.RMS_NORM, passed_on, "attn_post_norm"), POST),
    "no norm after feed-forward": (on(Op.RMS_NORM, passed_on, "ffn_post_norm"), POST),
    "a norm for each head": (norm_by_head, ["olmo2"]),
    "unscaled attention": (on(Op.SCALE, passed_on, "attn_scaled"), GRANITE),
    "an unscaled network": (on(Op.SCALE, passed_on, "ffn_scaled"), GRANITE),
    "unscaled logits": (on(Op.SCALE, passed_on, "logits_scaled"), GRANITE),
    "an unscaled embedding": (on(Op.SCALE, passed_on, "embd_scaled"), GRANITE),
    "scores by the head's size": (on(Op.ATTENTION, attrs(scale=0.25)), GRANITE),
    "nothing beside the experts": (on(Op.ADD, passed_on, "ffn_out"), ["granitemoe"]),
    "positions in every layer": (turned_everywhere, ["smollm3"]),
    "an rms norm": (rms_for_layer_norm, PLAIN),
    "norms without biases": (on(Op.LAYER_NORM, without(1)), PLAIN),
    "silu for the plain gelu": (on(Op.GELU_MUL, lambda n: replace(n, op=Op.SILU_MUL)), PLAIN),
    "no bias of up": (on(Op.ADD, passed_on, "ffn_up"), PLAIN),
    "no bias of down": (on(Op.ADD, passed_on, "ffn_down"), PLAIN),
    "no bias of fused q": (on(Op.ADD, passed_on, ".q"), PLAIN),
    "no learned positions": (on(Op.ADD, passed_on, "embd_placed"), ["gpt2"]),
    "uncapped scores": (on(Op.ATTENTION, attrs(softcap=0.0)), ["gemma2"]),
    "uncapped logits": (on(Op.SOFTCAP, passed_on), ["gemma2"]),
    "one expert too few": (on(Op.EXPERTS, attrs(used=1), "ffn_experts"), MIXED),
    "one expert too many": (on(Op.EXPERTS, attrs(used=3), "ffn_experts"), MIXED),
    "another sum of the experts' weights": (on(Op.EXPERTS, normalised_otherwise), MIXED),
    "a sigmoid for each expert": (on(Op.EXPERTS, attrs(gating="sigmoid"), "ffn_experts"), MIXED),
    "an expert's gate and up swapped": (on(Op.EXPERTS, gate_for_up), MIXED),
    "no sinks": (on(Op.ATTENTION, without(1)), ["gpt-oss"]),
    "experts without biases": (on(Op.EXPERTS, without(3)), ["gpt-oss"]),
    "silu for the clamped gate": (on(Op.EXPERTS, attrs(activation="silu")), ["gpt-oss"]),
    "a softmax over all experts": (on(Op.EXPERTS, attrs(gating="softmax")), ["gpt-oss"]),
    "no bias of the scores": (on(Op.ADD, passed_on, "ffn_scores"), ["gpt-oss"]),
    "no bias of the output": (on(Op.ADD, passed_on, "attn_output"), ["gpt-oss"]),
    "q and k swapped": (rows_of_another("q", "k"), ["phi3"]),
    "k and v swapped": (rows_of_another("k", "v"), ["phi3"]),
    "up above gate": (on(Op.SILU_MUL, swapped), ["phi3"]),
    "short factors for long ones": (on(Op.ROPE, frequencies(shorter)), ["phi3-long"]),
    "no long magnitude": (on(Op.ROPE, attrs(magnitude=1.0)), ["phi3-long"]),
    "no shared expert": (on(Op.EXPERTS, passed_on, "ffn_shared"), ["qwen2moe"]),
    "a shared expert without its score": (
        on(Op.EXPERTS, attrs(gating="softmax"), "ffn_shared"),
        ["qwen2moe"],
    ),
    "gelu experts": (on(Op.EXPERTS, attrs(activation="gelu")), MIXED),
}


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
