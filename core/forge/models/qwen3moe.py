"""qwen3moe: Qwen 3 with experts (arXiv 2505.09388)."""

from functools import partial

from forge.models import decoder
from forge.models.variant import Experts, Variant

build = partial(decoder.build, Variant(rope_style="neox", qk_norm="head", experts=Experts()))
