"""Random weights as GGUF tensor data of any type: quantised where that can be, else drawn anew."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from forge.testing.blocks import random_blocks, tensor_type_for

QUANTISED = frozenset("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 TQ1_0 TQ2_0 MXFP4".split())
"""What the gguf package quantises to. Fixed here: a newer one must not change seeded models."""


def quantise(
    weights: NDArray[np.float32],
    quant: str,
    name: str = "weights",
    *,
    std: float,
    random: np.random.Generator,
) -> tuple[NDArray[Any], gguf.GGMLQuantizationType]:
    """The data as GGUFWriter.add_tensor takes it, and its type; `quant` as in "q4_1" or "F16".

    For the types that the gguf package cannot quantise to, the weights give the shape alone: the
    data is random blocks of standard deviation `std`. UsageError if the type is unknown or its
    blocks do not divide the rows.
    """
    form = tensor_type_for(quant, weights.shape, name)
    kind = gguf.GGMLQuantizationType(form.code)
    if form.name in QUANTISED:
        return gguf.quants.quantize(weights, kind), kind
    return random_blocks(quant, weights.shape, std=std, random=random), kind
