"""Tiny random-weight GGUF models that are alive.

Alive means that every part of the network shows in the logits: their standard deviation is at least
2, attention looks at few positions, biases and norms differ from 0 and 1. So a wrong rope, mask or
head mapping changes the answers, where weights that are merely small and random would hide it.
The files load in llama.cpp as well, whose logits are the truth to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

from forge.errors import UsageError
from forge.testing.quantise import quantise
from forge.testing.tiny_shape import RopeScaling, TinyShape, checked_parts, family_of
from forge.testing.tiny_vocabulary import TinyVocabulary
from forge.testing.tiny_weights import tiny_weights

EXACT = (".bias", ".ffn_gate_inp.weight", "position_embd.weight")
"""What llama.cpp's quantiser leaves as it is: vectors, positions, what chooses among experts."""

LONG_ATTENTION = 1.19
"""Phi 3's, for a context of 32 times its training's."""


def write_tiny(
    path: str | Path,
    architecture: str = "llama",
    *,
    quant: str = "f32",
    embedding_quant: str | None = None,
    output_quant: str | None = None,
    seed: int = 0,
    layers: int | None = None,
    width: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    head_size: int | None = None,
    ffn: int | None = None,
    experts: int | None = None,
    vocabulary: int | None = None,
    context: int = 512,
    rope_base: float | None = None,
    rope_scaling: Mapping[str, Any] | None = None,
    tied: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
    tokenizer: Literal["no_vocab", "bytes"] = "no_vocab",
    split: int | None = None,
) -> Path:
    """Write a model of `architecture`, any of forge's, and give the (first) file's path.

    `quant` is the type of the matrices, any of WEIGHT_TYPES in either case; those of the embedding
    and of the output may differ. Norms and biases stay f32. Types that the gguf package cannot
    quantise to are drawn as random blocks, so such models of one seed do not resemble each other.
    `head_size` is width / heads and `ffn` 3 × width unless given. `tokenizer` "bytes" is byte-level
    BPE with a chat template, `vocabulary` then pads it with unused tokens. `rope_scaling` is
    {"type": "linear" | "yarn" | "llama3" | "longrope", "factor": ..., "original_context": ...};
    "llama3" and "longrope" write tensors, for the families that llama.cpp reads them of. `split` is
    the number of files, whose names then end in -00001-of-0000N.gguf. `layers`, `rope_base`, `tied`
    and `experts` (of a layer, 0 for none) are the family's unless given; `metadata` are more keys,
    after "ARCHITECTURE.", and other values of the family's.
    What is impossible raises UsageError.
    """
    if tokenizer not in ("no_vocab", "bytes"):
        raise UsageError(f"tokenizer is {tokenizer!r}; known are no_vocab and bytes")
    family = family_of(architecture)
    words = TinyVocabulary.trained(vocabulary) if tokenizer == "bytes" else None
    shape = TinyShape(
        architecture=architecture,
        layers=family.layers if layers is None else layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size if head_size is not None else width // max(heads, 1),
        ffn=ffn if ffn is not None else 3 * width,
        vocabulary=len(words.tokens) if words else vocabulary if vocabulary is not None else 256,
        context=context,
        rope_base=family.rope_base if rope_base is None else rope_base,
        rope_scaling=RopeScaling.of(rope_scaling) if rope_scaling else None,
        tied=family.tied if tied is None else tied,
        experts=family.experts if experts is None else experts,
        metadata={**family.metadata, **(metadata or {})},
    )
    writer = gguf.GGUFWriter(path, architecture)
    _add_hyperparameters(writer, shape)
    if head_size is not None:  # else the reader has to infer it, as from most real files
        writer.add_key_length(shape.head_size)
        writer.add_value_length(shape.head_size)
    if words:
        words.add_to(writer)
    else:
        writer.add_tokenizer_model("no_vocab")
    other_quants = {"token_embd.weight": embedding_quant, "output.weight": output_quant}
    tensors = []
    random = np.random.default_rng(seed)
    # Of its own, so that models of one seed have the same norms and biases whatever their types.
    [blocks_random] = random.spawn(1)
    for tensor in tiny_weights(shape, random):
        chosen = other_quants.get(tensor.name) or quant
        if tensor.weights.ndim == 1 or tensor.name.endswith(EXACT):
            chosen = "f32"
        made = quantise(tensor.weights, chosen, tensor.name, std=tensor.std, random=blocks_random)
        tensors.append((tensor.name, *made))
    parts = checked_parts(split, len(tensors))
    for index, (name, data, kind) in enumerate(tensors):
        if len(writer.tensors) * len(tensors) <= index * parts:
            writer.tensors.append({})  # the next part
        writer.add_tensor(name, data, raw_dtype=kind)
    files = writer.format_shard_names(Path(path))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(files[0])


def _add_hyperparameters(writer: gguf.GGUFWriter, shape: TinyShape) -> None:
    writer.add_name(f"tiny {shape.architecture}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    epsilon = shape.family.norm_epsilon
    (writer.add_layer_norm_eps if shape.family.layer_norm else writer.add_layer_norm_rms_eps)(
        epsilon
    )
    if shape.architecture == "llama":
        writer.add_rope_dimension_count(shape.head_size)
    if not shape.family.positions:
        writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    for key, value in shape.metadata.items():
        name, kind = f"{shape.architecture}.{key}", gguf.GGUFValueType.get_type(value)
        if kind is gguf.GGUFValueType.ARRAY:
            writer.add_array(name, value)
        else:  # counts are unsigned in these files, and llama.cpp insists
            unsigned = kind is gguf.GGUFValueType.INT32
            writer.add_key_value(name, value, gguf.GGUFValueType.UINT32 if unsigned else kind)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        if "expert_used_count" not in shape.metadata:
            writer.add_expert_used_count(min(2, shape.experts))
    scaling = shape.rope_scaling
    if scaling is None or scaling.type == "llama3":  # factors are a tensor, and nothing else
        return
    if shape.architecture != "phi3":  # whose converter does not write it
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling.type))
    if scaling.type == "longrope":
        writer.add_rope_scaling_attn_factors(LONG_ATTENTION)
    else:
        writer.add_rope_scaling_factor(scaling.factor)
    if scaling.original_context is not None:
        writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
