"""qwen3: Qwen 3 (arXiv 2505.09388); q and k are normalised a head."""

from functools import partial

from forge.models import decoder
from forge.models.variant import Variant

build = partial(decoder.build, Variant(rope_style="neox", qk_norm="head"))
