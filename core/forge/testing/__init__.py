"""What tests need, ours and other people's: tiny models, faulty backends, parts to check alone.

The tokenizer, the chat template and the sampler are usable alone: each is made from a GGUF file, or
from parameters, without an engine or a backend.
"""

from __future__ import annotations

from forge.faults import FAULTS, PHASES, SUBTLE
from forge.sampling import Sampler, SamplingParams, StopMatcher
from forge.template import ChatTemplate
from forge.testing.blocks import WEIGHT_TYPES, random_blocks
from forge.testing.faulty import FaultyBackend, faulty
from forge.testing.tiny import write_tiny
from forge.tokenizer import Tokenizer

__all__ = [
    "FAULTS",
    "PHASES",
    "SUBTLE",
    "WEIGHT_TYPES",
    "ChatTemplate",
    "FaultyBackend",
    "Sampler",
    "SamplingParams",
    "StopMatcher",
    "Tokenizer",
    "faulty",
    "random_blocks",
    "write_tiny",
]
