"""qwen2moe: Qwen 2 with experts (arXiv 2407.10671), one of them shared by all tokens."""

from functools import partial

from forge.models import decoder
from forge.models.variant import Experts, Variant

build = partial(
    decoder.build, Variant(rope_style="neox", experts=Experts(normalize=False, shared="scored"))
)
