"""Architectures: hyperparameters to graph. A module is named as GGUF names the architecture,
with _ for -."""

from __future__ import annotations

from importlib import import_module

from forge.errors import ContextOverflow, UnsupportedModel, UsageError
from forge.gguf import GGUFFile
from forge.gguf.errors import show
from forge.graph import Graph
from forge.models.hyperparameters import Hyperparameters

ARCHITECTURES = (
    *("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"),
    *("qwen3moe", "qwen2moe", "phi3", "gpt-oss", "olmo2", "granite", "granitemoe"),
    *("smollm3", "starcoder2", "gpt2"),
)
DEFAULT_CONTEXT = 8192
"""The largest context that is taken without being asked for."""


def context_length(hp: Hyperparameters, asked: int | None) -> int:
    """The context in tokens: what was asked, else the smaller of the model's and the default."""
    if asked is not None:
        if asked < 1:
            raise UsageError(f"a context of {asked} tokens is too small: give at least 1")
        if hp.context is not None and asked > hp.context:
            raise ContextOverflow(
                f"a context of {asked} tokens was asked for, "
                f"and {hp.file.path} was trained for {hp.context}"
            )
        return asked
    if hp.context is None:
        raise hp.missing("context_length", "Say how many tokens with --context.")
    return min(hp.context, DEFAULT_CONTEXT)


def build_graph(
    file: GGUFFile, *, context: int | None = None, slots: int = 1, state_dtype: str = "f32"
) -> Graph:
    """The graph of a model's file, validated."""
    hp = Hyperparameters(file)
    if hp.architecture not in ARCHITECTURES:
        raise UnsupportedModel(
            f"{file.path}: architecture {show(hp.architecture)!r} is not one that forge knows: "
            f"{', '.join(ARCHITECTURES)}"
        )
    build = import_module(f"forge.models.{hp.architecture.replace('-', '_')}").build
    graph: Graph = build(
        hp, context=context_length(hp, context), slots=slots, state_dtype=state_dtype
    )
    return graph


__all__ = ["ARCHITECTURES", "Hyperparameters", "build_graph", "context_length"]
