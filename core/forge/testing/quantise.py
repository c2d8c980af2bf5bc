"""Float32 weights to GGUF tensor data, with the gguf package's reference quantisation."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from forge.errors import UsageError


def quantise(
    weights: NDArray[np.float32], quant: str, name: str = "weights"
) -> tuple[NDArray[Any], gguf.GGMLQuantizationType]:
    """The data as GGUFWriter.add_tensor takes it, and its type; `quant` as in "q4_1" or "F16".

    UsageError if the type is unknown, only readable, or its blocks do not divide the rows.
    """
    try:
        kind = gguf.GGMLQuantizationType[quant.upper()]
    except KeyError:
        known = ", ".join(sorted(t.name.lower() for t in gguf.GGMLQuantizationType))
        raise UsageError(f"no GGUF tensor type is called {quant!r}\nKnown are {known}.") from None
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if weights.shape[-1] % block:
        raise UsageError(
            f"{name} has rows of {weights.shape[-1]} weights, but {kind.name} comes in blocks of "
            f"{block}\nChoose widths that {block} divides, or another type."
        )
    try:
        return gguf.quants.quantize(weights, kind), kind
    except NotImplementedError:
        raise UsageError(f"the gguf package reads {kind.name} but cannot quantise to it") from None
