"""llama: LLaMA 1 to 3 (arXiv 2407.21783), Mistral (arXiv 2310.06825), SmolLM and more."""

from functools import partial

from forge.models import decoder
from forge.models.variant import Variant

build = partial(decoder.build, Variant(rope_style="norm"))
