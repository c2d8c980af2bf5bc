"""Which bugs each family must show: by name, the bug and the recorded models that it bites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from forge.graph import Graph, Op

from .planted import (
    attrs,
    change_window,
    everywhere,
    frequencies,
    gate_for_up,
    norm_by_head,
    normalised_otherwise,
    on,
    one_layer_late,
    other_style,
    passed_on,
    rms_for_layer_norm,
    rows_of_another,
    shorter,
    swapped,
    turned_everywhere,
    without,
)

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
