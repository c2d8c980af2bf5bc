"""The tiny models: files as other readers expect them, and weights of the promised sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import jinja2
import numpy as np
import pytest

from forge.errors import UsageError
from forge.gguf import open_gguf
from forge.models import ARCHITECTURES as ARCHITECTURES_OF_FORGE
from forge.models import build_graph
from forge.testing import WEIGHT_TYPES, write_tiny
from forge.testing.quantise import QUANTISED
from forge.testing.tiny_families import FAMILIES
from forge.testing.tiny_shape import RopeScaling, TinyShape
from forge.testing.tiny_vocabulary import CONTROL_TOKENS, TinyVocabulary, byte_symbols
from forge.testing.tiny_weights import rope_factors

ARCHITECTURES = ["llama", "qwen2", "qwen3"]
LONGROPE = {"type": "longrope", "factor": 6.0, "original_context": 64}
LLAMA3 = {"type": "llama3", "factor": 8.0, "original_context": 64}


class File:
    """A written file through the gguf package's reader, closed from the start (all is copied)."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.fields = {k: f.contents() for k, f in reader.fields.items() if k[:5] != "GGUF."}
        self.types = {t.name: t.tensor_type.name for t in reader.tensors}
        self.shapes = {t.name: tuple(int(n) for n in t.shape[::-1]) for t in reader.tensors}
        self.weights = {
            t.name: gguf.dequantize(t.data, t.tensor_type).reshape(self.shapes[t.name]).copy()
            for t in reader.tensors
        }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_metadata_names_every_hyperparameter(architecture: str, tmp_path: Path) -> None:
    file = File(
        write_tiny(
            tmp_path / "m.gguf", architecture, layers=3, width=96, heads=3, kv_heads=1, ffn=160
        )
    )
    expected = {
        "general.architecture": architecture,
        f"{architecture}.block_count": 3,
        f"{architecture}.embedding_length": 96,
        f"{architecture}.feed_forward_length": 160,
        f"{architecture}.attention.head_count": 3,
        f"{architecture}.attention.head_count_kv": 1,
        f"{architecture}.context_length": 512,
        f"{architecture}.vocab_size": 256,
        f"{architecture}.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "no_vocab",
    }
    assert {key: file.fields[key] for key in expected} == expected
    assert f"{architecture}.attention.layer_norm_rms_epsilon" in file.fields
    assert f"{architecture}.attention.key_length" not in file.fields


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_shapes_follow_heads_and_head_size(architecture: str, tmp_path: Path) -> None:
    size = 16 if architecture == "qwen2" else 24
    width = 5 * 16
    file = File(
        write_tiny(
            tmp_path / "m.gguf", architecture, width=width, heads=5, kv_heads=1, head_size=size
        )
    )
    assert file.fields[f"{architecture}.attention.key_length"] == size
    assert file.shapes["blk.1.attn_q.weight"] == (5 * size, width)
    assert file.shapes["blk.1.attn_k.weight"] == (size, width)
    assert file.shapes["blk.1.attn_v.weight"] == (size, width)
    assert file.shapes["blk.1.attn_output.weight"] == (width, 5 * size)
    assert ("blk.0.attn_q.bias" in file.shapes) == (architecture == "qwen2")
    assert file.shapes.get("blk.0.attn_k_norm.weight") == (
        (size,) if architecture == "qwen3" else None
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_weights_are_of_the_size_that_keeps_the_model_alive(
    architecture: str, tmp_path: Path
) -> None:
    file = File(write_tiny(tmp_path / "m.gguf", architecture, width=128))
    for name, weights in file.weights.items():
        if weights.ndim == 2:
            gain = weights.std() * np.sqrt(weights.shape[1])
            kinds = {"attn_q": 1.6, "attn_k": 1.6, "output": 2.5, "token_embd": np.sqrt(128)}
            expected = kinds.get(name.split(".")[-2], 1.5)
            assert gain == pytest.approx(expected, rel=0.05), name
        else:
            assert weights.std() > 0.1, name


def test_a_tied_model_has_no_output_and_an_embedding_of_its_size(tmp_path: Path) -> None:
    file = File(write_tiny(tmp_path / "m.gguf", tied=True))
    assert "output.weight" not in file.shapes
    assert file.weights["token_embd.weight"].std() * 8 == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("quant", ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"])
def test_matrices_are_quantised_and_vectors_are_not(quant: str, tmp_path: Path) -> None:
    file = File(write_tiny(tmp_path / "q.gguf", "qwen2", quant=quant, output_quant="q8_0"))
    exact = File(write_tiny(tmp_path / "f.gguf", "qwen2"))
    for name, kind in file.types.items():
        if len(file.shapes[name]) == 1:
            assert kind == "F32"
        else:
            assert kind == ("Q8_0" if name == "output.weight" else quant.upper())
        error = np.abs(file.weights[name] - exact.weights[name]).mean()
        assert error < 0.1 * np.abs(exact.weights[name]).mean()


@pytest.mark.parametrize("quant", [t for t in WEIGHT_TYPES if t.upper() not in QUANTISED])
def test_matrices_that_cannot_be_quantised_are_drawn_in_the_size_that_keeps_the_model_alive(
    quant: str, tmp_path: Path
) -> None:
    shape = {"width": 256, "vocabulary": 512, "layers": 1}
    file = File(write_tiny(tmp_path / "q.gguf", "qwen2", quant=quant, **shape))
    exact = File(write_tiny(tmp_path / "f.gguf", "qwen2", **shape))
    for name, weights in exact.weights.items():
        if weights.ndim == 2:
            assert file.types[name] == quant.upper()
            assert file.weights[name].std() == pytest.approx(weights.std(), rel=0.08), name
        else:
            assert (file.weights[name] == weights).all(), name


def test_embedding_and_output_can_be_of_other_types_than_the_rest(tmp_path: Path) -> None:
    options = {"quant": "Q4_K", "embedding_quant": "iq4_xs", "output_quant": "q6_k", "width": 256}
    kinds = File(write_tiny(tmp_path / "m.gguf", **options)).types
    assert kinds.pop("token_embd.weight") == "IQ4_XS"
    assert kinds.pop("output.weight") == "Q6_K"
    assert set(kinds.values()) == {"Q4_K", "F32"}


def test_the_seed_decides_drawn_blocks_too(tmp_path: Path) -> None:
    one, same, other = (
        write_tiny(tmp_path / f"{i}.gguf", quant="iq3_s", width=256, seed=seed).read_bytes()
        for i, seed in enumerate([1, 1, 2])
    )
    assert one == same
    assert one != other


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    one, same, other = (
        write_tiny(tmp_path / f"{i}.gguf", seed=seed).read_bytes()
        for i, seed in enumerate([1, 1, 2])
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("parts", [1, 2, 5, 21])
def test_a_split_model_is_the_whole_one_in_parts(parts: int, tmp_path: Path) -> None:
    whole = File(write_tiny(tmp_path / "whole.gguf"))
    first = write_tiny(tmp_path / "split.gguf", split=parts)
    files = sorted(tmp_path.glob("split*.gguf"))
    assert len(files) == parts
    assert files[0] == first
    together: dict[str, np.ndarray[Any, Any]] = {}
    for number, path in enumerate(files):
        part = File(path)
        assert part.weights
        together |= part.weights
        if parts > 1:
            assert path.name == f"split-{number + 1:05d}-of-{parts:05d}.gguf"
            assert part.fields["split.no"] == number
            assert part.fields["split.count"] == parts
            assert part.fields["split.tensors.count"] == len(whole.weights)
    assert list(together) == list(whole.weights)
    assert all((together[name] == whole.weights[name]).all() for name in together)


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_rope_scaling_is_written_as_metadata(kind: str, tmp_path: Path) -> None:
    scaling = {"type": kind, "factor": 4.0, "original_context": 128}
    fields = File(write_tiny(tmp_path / "m.gguf", "qwen3", rope_scaling=scaling)).fields
    assert fields["qwen3.rope.scaling.type"] == kind
    assert fields["qwen3.rope.scaling.factor"] == 4.0
    assert fields["qwen3.rope.scaling.original_context_length"] == 128


def test_llama3_scaling_is_written_as_a_tensor_of_factors(tmp_path: Path) -> None:
    file = File(write_tiny(tmp_path / "m.gguf", head_size=32, rope_scaling=LLAMA3))
    factors = file.weights["rope_freqs.weight"]
    assert factors.shape == (16,)
    assert factors[0] == 1.0
    assert factors[-1] == 8.0
    assert (np.diff(factors) >= 0).all()
    assert not any("scaling" in key for key in file.fields)


def test_longrope_is_written_as_two_tensors_and_a_magnitude(tmp_path: Path) -> None:
    for architecture in ("phi3", "llama"):
        path = write_tiny(tmp_path / "m.gguf", architecture, rope_scaling=LONGROPE)
        file = File(path)
        long, short = (file.weights[f"rope_factors_{n}.weight"] for n in ("long", "short"))
        assert long.shape == short.shape == (8,)
        assert long[-1] == 6.0
        assert (long[1:] > short[1:]).all()
        assert file.fields[f"{architecture}.rope.scaling.attn_factor"] > 1
        assert file.fields[f"{architecture}.rope.scaling.original_context_length"] == 64


def test_there_is_a_tiny_model_of_every_architecture(tmp_path: Path) -> None:
    assert set(FAMILIES) == set(ARCHITECTURES_OF_FORGE)
    for architecture in FAMILIES:
        path = write_tiny(tmp_path / "m.gguf", architecture, context=64)
        with open_gguf(path) as file:
            graph = build_graph(file)
        assert graph.name == architecture
        assert {w.tensor for w in graph.weights.values()} == set(File(path).weights)


@pytest.mark.parametrize("architecture", ["llama", "qwen2moe", "gpt-oss", "granitemoe"])
def test_experts_are_stacks_of_matrices_and_what_chooses_them_is_exact(
    architecture: str, tmp_path: Path
) -> None:
    options = {"quant": "q8_0", "experts": 3, "metadata": {"expert_used_count": 2}}
    file = File(write_tiny(tmp_path / "m.gguf", architecture, **options))
    assert file.fields[f"{architecture}.expert_count"] == 3
    assert file.fields[f"{architecture}.expert_used_count"] == 2
    size = file.shapes["blk.1.ffn_up_exps.weight"][1]
    assert file.shapes["blk.1.ffn_gate_exps.weight"] == (3, size, 64)
    assert file.shapes["blk.1.ffn_down_exps.weight"] == (3, 64, size)
    assert file.types["blk.1.ffn_down_exps.weight"] == "Q8_0"
    assert file.types["blk.1.ffn_gate_inp.weight"] == "F32"
    assert all(t == "F32" for n, t in file.types.items() if n.endswith(".bias"))


def test_metadata_of_a_family_can_be_changed_and_added_to(tmp_path: Path) -> None:
    added = {"attention.sliding_window": 9, "rope.freq_base_swa": 500.0, "flags": [True, False]}
    fields = File(write_tiny(tmp_path / "m.gguf", "gemma3", metadata=added)).fields
    assert fields["gemma3.attention.sliding_window"] == 9
    assert fields["gemma3.attention.sliding_window_pattern"] == 2
    assert fields["gemma3.rope.freq_base_swa"] == 500.0
    assert fields["gemma3.flags"] == [True, False]


def test_llama3_factors_keep_short_waves_and_slow_long_ones() -> None:
    shape = TinyShape(
        architecture="llama",
        layers=1,
        width=2048,
        heads=32,
        kv_heads=8,
        head_size=64,
        ffn=1,
        vocabulary=2,
        context=131072,
        rope_base=500000.0,
        rope_scaling=RopeScaling(type="llama3", factor=32.0, original_context=8192),
        tied=True,
    )
    assert shape.rope_scaling is not None
    factors = rope_factors(shape.rope_scaling, shape)
    # Wave i is 2π · 500000^(i/32) tokens long: shorter than 8192 / 4 up to i = 14, and longer than
    # 8192 from i = 18 on.
    assert (factors[:15] == 1).all()
    assert 1 < factors[15] < factors[16] < factors[17] < 32
    assert (factors[18:] == 32).all()


def test_the_bytes_tokenizer_is_complete(tmp_path: Path) -> None:
    fields = File(write_tiny(tmp_path / "m.gguf", tokenizer="bytes", vocabulary=512)).fields
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert fields["llama.vocab_size"] == len(tokens) == len(set(tokens)) == len(kinds) == 512
    assert tokens[:256] == byte_symbols()
    for merge in fields["tokenizer.ggml.merges"]:
        left, right = merge.split(" ")
        assert {left, right, left + right} <= set(tokens)
    for control in CONTROL_TOKENS:
        assert kinds[tokens.index(control)] == gguf.TokenType.CONTROL
    assert tokens[fields["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"


def test_the_byte_symbols_are_those_of_gpt_2() -> None:
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert [symbols[b] for b in b" \n\t!~\x7f\xa0\xad\xff"] == list("ĠĊĉ!~ġłŃÿ")


def test_the_chat_template_is_chatml(tmp_path: Path) -> None:
    fields = File(write_tiny(tmp_path / "m.gguf", tokenizer="bytes")).fields
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    expected = (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    for trim in (False, True):  # both settings are in use
        environment = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim, autoescape=False)
        template = environment.from_string(fields["tokenizer.chat_template"])
        assert template.render(messages=messages, add_generation_prompt=True) == expected


def test_training_the_merges_is_repeatable() -> None:
    assert TinyVocabulary.trained() == TinyVocabulary.trained()
    assert "Ġthe" in TinyVocabulary.trained().tokens


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "gpt5"}, "gpt5"),
        ({"quant": "q9_9"}, "q9_9"),
        ({"quant": "q4_0", "width": 80, "heads": 5, "kv_heads": 1}, "blocks of 32"),
        ({"quant": "q4_k"}, "blocks of 256"),
        ({"output_quant": "iq2_xs", "width": 128}, "output.weight has rows of 128"),
        ({"quant": "q8_k", "width": 256}, "q8_k"),
        ({"heads": 4, "kv_heads": 3}, "evenly"),
        ({"head_size": 7}, "even number"),
        ({"heads": 0}, "heads is 0"),
        ({"vocabulary": 1}, "vocabulary is 1"),
        ({"tokenizer": "bytes", "vocabulary": 300}, "323 at least"),
        ({"tokenizer": "spm"}, "spm"),
        ({"architecture": "qwen2", "head_size": 32}, "qwen2 needs"),
        ({"architecture": "qwen3", "rope_scaling": LLAMA3}, "for llama, granite, not qwen3"),
        ({"architecture": "qwen2", "rope_scaling": LONGROPE}, "for llama, phi3, granite, not"),
        ({"rope_scaling": {"type": "longrope", "factor": 2.0}}, "original_context"),
        ({"architecture": "gpt2", "head_size": 32}, "gpt2 needs"),
        ({"experts": -1}, "experts is -1"),
        ({"architecture": "qwen3moe", "experts": 0}, "qwen3moe needs experts"),
        ({"architecture": "qwen3", "experts": 4}, "qwen3 has no experts"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "original_context"),
        ({"rope_scaling": {"type": "ntk", "factor": 2.0}}, "ntk"),
        ({"rope_scaling": {"type": "linear", "factor": 0.0}}, "more than 0"),
        ({"rope_scaling": {"type": "linear", "speed": 1}}, "speed"),
        ({"split": 0}, "split is 0"),
        ({"split": 99}, "split is 99"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_file(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        write_tiny(tmp_path / "m.gguf", **options)
    assert not list(tmp_path.iterdir())
