"""How far a backend's numbers may be from the truth, by op and by the type of its weights.

As normalised mean square error over a case, and sixteen times that over any sixteen neighbouring
outputs of one token, where a wrong tail or a wrong row of a large matrix would drown. Each leaves
room for what an honest backend does, and less than a wrong scale, index or mask costs.
"""

from __future__ import annotations

from dataclasses import dataclass

from forge.graph import Op

ROUNDED = 1e-9
"""Float32 throughout, with fast exponentials: about 1e-13 to 1e-11."""

WEIGHTS = {
    "f32": ROUNDED,
    "f16": 1e-6,  # activations rounded to half precision: 2^-24; sums stay in float32
    "bf16": 2e-5,  # activations rounded to bfloat16: 2e-6
}
QUANTISED = 2e-4
"""Activations in int8 with a scale for 32 give 3e-5, for 256 up to 7e-5."""

CACHE = 1e-5
"""Keys and values kept in half precision, at scores that spread over several units."""
CACHE_Q8_0 = 1e-3
"""Keys and values in int8 with a scale for 32 of them: 1e-4."""

TILE = 16
LOCAL = 16.0


@dataclass(frozen=True, slots=True)
class Bound:
    """Normalised mean square error: of all outputs, and of any TILE neighbours of one token."""

    whole: float

    @property
    def local(self) -> float:
        """Of a tile, against the mean square of all outputs."""
        return LOCAL * self.whole


def bound(op: Op, column: str, last_position: int) -> Bound:
    """The bound of a case; `column` is a weight type where the op has matrices."""
    match op:
        case Op.MATMUL:
            return Bound(WEIGHTS.get(column, QUANTISED))
        case Op.EXPERTS:  # two products, one after the other
            return Bound(3 * WEIGHTS.get(column, QUANTISED))
        case Op.EMBED:  # rows may be kept in half precision
            return Bound(WEIGHTS["f16"] if column != "f32" else ROUNDED)
        case Op.ATTENTION:
            return Bound(CACHE_Q8_0 if column == "q8_0 cache" else CACHE)
        case Op.ROPE:  # an angle in float32 is off by up to its half unit in the last place
            return Bound(max(ROUNDED, (last_position * 2.0**-24) ** 2))
        case _:
            return Bound(ROUNDED)
