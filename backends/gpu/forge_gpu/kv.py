"""The caches of keys and values: their layout and size on the device."""

from __future__ import annotations

from dataclasses import dataclass

from forge.backend import BackendUnsupported, StateSpec
from forge_gpu.features import Features
from forge_gpu.memory import Region


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of one attention node, of the same type and capacity."""

    keys: Region
    values: Region
    dtype: str
    capacity: int


def row_words(size: int, dtype: str) -> int:
    """32-bit words of one head at one position, as the kernels have them."""
    match dtype:
        case "f32":
            return -(-size // 4) * 4
        case "f16":
            return -(-size // 4) * 2
        case "q8_0":
            return size // 4 + -(-size // 64)
    raise BackendUnsupported(f"the GPU kernels have no cache of type {dtype}")


def state_bytes(spec: StateSpec) -> int:
    """What a state takes: rows [slots, heads, capacity]."""
    return 4 * spec.slots * spec.heads * spec.capacity * row_words(spec.size, spec.dtype)


def check(spec: StateSpec, features: Features) -> None:
    """BackendUnsupported where one binding cannot cover the state: a smaller context could."""
    size, most = state_bytes(spec), features.storage_bytes
    if size > most:
        fits = spec.capacity * most // size
        raise BackendUnsupported(
            f"a cache of {spec.capacity} tokens takes {size >> 20} MiB, more than the "
            f"{most >> 20} MiB that this device can address at once: choose a context of {fits} "
            "or less (-c)"
        )
