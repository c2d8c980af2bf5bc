"""An attention node on the device, beside the reference in float64 that it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tests.backends.vulkan.ops.stage import Stage, error, read

from forge import reference
from forge.backend import Array, StateSpec
from forge_gpu import kv
from forge_gpu.steps import attention as steps
from forge_gpu.steps import attention_coopmat, attention_decode
from forge_gpu.steps.attention import Heads, Rotation
from forge_gpu.steps.products import Coded
from forge_gpu.tape import Tape


class Attending:
    """Caches on the device, of nonsense at first, and the reference's, which say what is right."""

    def __init__(
        self,
        stage: Stage,
        heads: int = 4,
        kv_heads: int = 2,
        size: int = 64,
        *,
        capacity: int = 64,
        value_size: int = 0,
        slots: int = 1,
        dtype: str = "f32",
        dims: int = 0,
        magnitude: float = 1.0,
        style: str = "norm",
        sinks: bool = False,
        rows_each: int = 0,
        tile: int = 0,
        coded: bool = False,
        coopmat: bool = False,
        **limits,
    ) -> None:
        self.stage, self.random = stage, np.random.default_rng(5)
        value_size = value_size or size
        self.shape = Heads(heads, kv_heads, size, value_size, 2 / math.sqrt(size), **limits)
        self.dtype, self.rows_each, self.tile = dtype, rows_each, tile
        keys, values = (
            stage.room(kv.state_bytes(StateSpec(slots, kv_heads, capacity, n, dtype)))
            for n in (size, value_size)
        )
        self.cache = kv.Cache(keys, values, dtype, capacity)
        self.keys = np.full((slots, kv_heads, capacity, size), np.nan)
        self.values = np.full((slots, kv_heads, capacity, value_size), np.nan)
        self.turn = np.float32(10000.0) ** (
            -2 * np.arange(dims // 2, dtype=np.float32) / (dims or 1)
        )
        self.rotation = Rotation(stage.array(self.turn), magnitude, style) if dims else None
        self._recorded: dict[int, tuple[Any, Any, Any]] = {}
        self.sinks = 2 * self.random.standard_normal(heads, np.float32) if sinks else None
        self._sinks = stage.array(self.sinks) if self.sinks is not None else None
        width = heads * value_size
        self.coopmat = coopmat
        self.coded = Coded(stage.room(Coded.size(width)), width) if coded else None

    def inputs(self, count: int) -> list[Array]:
        """Random q, k and v."""
        shape = self.shape
        widths = shape.heads * shape.size, shape.kv_heads * shape.size
        return [
            self.random.standard_normal((count, width), np.float32)
            for width in (*widths, shape.kv_heads * shape.value_size)
        ]

    def prefill(self, q, k, v, positions: Sequence[int], slots: Sequence[int] = ()) -> Array:
        """What the device computes for these tokens."""
        query, key, value = (self.stage.activation(x) for x in (q, k, v))
        out = self.stage.rows(self.shape.heads * self.shape.value_size)

        def write(tape: Tape) -> None:
            steps.append(
                tape,
                self.shape,
                self.cache,
                key,
                value,
                rotation=self.rotation,
                q=query if self.rotation else None,
                rotated=query if self.rotation else None,
            )
            given = tape, self.shape, self.cache, query, out
            if self.coopmat:
                left = self.stage.room(attention_coopmat.left_bytes(self.shape, query.most))
                attention_coopmat.attention_coopmat(*given, left=left, sinks=self._sinks)
            else:
                steps.attention(*given, sinks=self._sinks, rows_each=self.rows_each)

        self.stage.run(len(q), write, positions=positions, slots=slots)
        return read(out, len(q))

    def decode(self, q, k, v, position: int, slot: int = 0, shares: int = 3) -> Array:
        """What the device computes for one token, recorded once for each number of shares."""
        if shares not in self._recorded:
            size = attention_decode.scratch_bytes(self.shape, shares)
            values = [self.stage.activation(x, most=1) for x in (q, k, v)]
            out = self.stage.rows(self.shape.heads * self.shape.value_size, most=1)
            scratch = self.stage.room(size)
            scratch.view()[:] = 0

            def write(tape: Tape) -> None:
                attention_decode.attention_decode(
                    *(tape, self.shape, self.cache, *values, out),
                    scratch=scratch,
                    shares=shares,
                    rotation=self.rotation,
                    sinks=self._sinks,
                    following=self.coded,
                    tile=self.tile,
                )

            self._recorded[shares] = self.stage.record(write), values, out
        recording, values, out = self._recorded[shares]
        for value, given in zip(values, (q, k, v), strict=True):
            value.region.view(np.float32)[:] = given.ravel()
        out.region.view()[:] = 0xFF
        self.stage.set(1, [position], [slot])
        self.stage.queue.run([recording])
        return read(out, 1)

    def check_decode(self, position: int, slot: int = 0, shares: int = 3) -> None:
        """A random token at this position comes out right."""
        tokens = self.inputs(1)
        found = self.decode(*tokens, position, slot, shares)
        assert error(found, self.truth(*tokens, [position], [slot])) < self.bound

    def truth(self, q, k, v, positions: Sequence[int], slots: Sequence[int] = ()) -> Array:
        """What is right, with keys and values as the cache holds them."""
        shape, where = self.shape, np.array(positions)
        q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
        if self.rotation:
            turn = {
                "frequencies": tuple(self.turn.astype(float).tolist()),
                "style": self.rotation.style,
                "magnitude": self.rotation.magnitude,
            }
            q = reference.rope(q, where, heads=shape.heads, **turn)
            k = reference.rope(k, where, heads=shape.kv_heads, **turn)
        with np.errstate(all="ignore"):
            return reference.attention(
                q,
                held(k, self.dtype),
                held(v, self.dtype),
                self.keys,
                self.values,
                where,
                np.array(slots or [0] * len(q)),
                None if self.sinks is None else self.sinks.astype(np.float64),
                heads=shape.heads,
                kv_heads=shape.kv_heads,
                scale=shape.scale,
                causal=shape.causal,
                window=shape.window,
                softcap=shape.softcap,
            )

    @property
    def bound(self) -> float:
        """Rotated numbers are now and then rounded to the other neighbour in half precision.

        Cooperative matrices take queries and weights in half precision.
        """
        if self.coopmat:
            return 3e-6
        if self.dtype == "f32" or not self.rotation:
            return 1e-10
        return 1e-7 if self.dtype == "f16" else 1e-5

    def check(self, positions: Sequence[int], slots: Sequence[int] = ()) -> None:
        """Random tokens at these positions come out right."""
        tokens = self.inputs(len(positions))
        found = self.prefill(*tokens, positions, slots)
        assert error(found, self.truth(*tokens, positions, slots)) < self.bound


def held(x: Array, dtype: str) -> Array:
    """Numbers as a cache of that type gives them back."""
    if dtype == "f32":
        return x
    with np.errstate(over="ignore"):
        if dtype == "f16":
            return x.astype(np.float16).astype(np.float64)
        blocks = x.reshape(-1, 32)
        scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float16)
    scale = scale.astype(np.float64)
    whole = np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0)
    return (np.clip(np.rint(whole), -127, 127) * scale).reshape(x.shape)
