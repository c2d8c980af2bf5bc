"""qwen3: Qwen 3 (arXiv 2505.09388); q and k are normalised a head."""

from functools import partial

from forge.models import decoder

build = partial(decoder.build, decoder.Variant(rope_style="neox", head_norm=True))
