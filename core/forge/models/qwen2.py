"""qwen2: Qwen 1.5, 2 and 2.5 (arXiv 2412.15115); biases on q, k and v."""

from functools import partial

from forge.models import decoder
from forge.models.variant import Variant

build = partial(decoder.build, Variant(rope_style="neox"))
