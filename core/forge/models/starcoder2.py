"""starcoder2: StarCoder 2 (arXiv 2402.19173); layer norms, biases, and no gate."""

from functools import partial

from forge.graph import Op
from forge.models import decoder
from forge.models.variant import Variant

build = partial(
    decoder.build,
    Variant(norm=Op.LAYER_NORM, rope_style="neox", gated=Op.GELU_MUL, gate="none"),
)
