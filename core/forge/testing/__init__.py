"""What tests need, ours and other people's: live tiny models, and the parts to check by themselves.

The tokenizer, the chat template and the sampler are usable alone: each is made from a GGUF file, or
from parameters, without an engine or a backend.
"""

from __future__ import annotations

from forge.sampling import Sampler, SamplingParams, StopMatcher
from forge.template import ChatTemplate
from forge.testing.tiny import write_tiny
from forge.tokenizer import Tokenizer

__all__ = [
    "ChatTemplate",
    "Sampler",
    "SamplingParams",
    "StopMatcher",
    "Tokenizer",
    "write_tiny",
]
