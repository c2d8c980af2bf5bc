"""The CPU backend with one thing changed: honest shortcuts that must pass, and bugs that must not.

Each is a `package.module:Class` for --forge-backend.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from forge.backend import (
    Array,
    BackendConfig,
    BackendUnsupported,
    Executable,
    Graph,
    Node,
    Op,
    Progress,
    Rows,
    Sampler,
    Timing,
    Value,
    Weight,
    WeightSpec,
    attributes,
    reference,
)
from forge_cpu.executable import CpuExecutable
from forge_cpu.plain import NumpyBackend


class Changed(CpuExecutable):
    """Tells its subclasses of one op what they may change."""

    op: ClassVar[Op | None] = None

    def compute(self, node: Node, arguments: Sequence[Array]) -> Array:
        truth = super().compute(node, arguments)
        if node.op is not self.op:
            return truth
        return self.change(node, list(arguments), truth)

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        raise NotImplementedError

    def kind(self, node: Node) -> str:
        """The type of the node's weight."""
        found = [s.dtype for n in node.inputs if (s := self.graph.weights.get(n))]
        return found[0] if found else ""


def backend(executable: type[CpuExecutable]) -> type[NumpyBackend]:
    """A CPU backend whose executables are these."""

    class Mutant(NumpyBackend):
        def compile(
            self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
        ) -> Executable:
            return executable(graph, weights, progress)

    return Mutant


# Honest ones.


class Sound(NumpyBackend):
    """Nothing is changed."""


def int8(x: Array, block: int) -> Array:
    """Activations as llama.cpp's Q8_0 and Q8_K have them: int8 with a scale for each block."""
    rows = x.reshape(len(x), -1, math.gcd(block, x.shape[1]))
    scale = np.abs(rows).max(axis=-1, keepdims=True) / 127
    with np.errstate(invalid="ignore"):
        whole = np.rint(rows / np.where(scale == 0, 1, scale))
    out: Array = (whole * scale).reshape(x.shape).astype(np.float32)
    return out


def half(x: Array) -> Array:
    with np.errstate(over="ignore"):
        out: Array = x.astype(np.float16).astype(np.float32)
    return out


@backend
class Int8(Changed):
    """Int8 activations for quantised weights, half precision for the rest and for the cache."""

    def compute(self, node: Node, arguments: Sequence[Array]) -> Array:
        given = list(arguments)
        kind = self.kind(node)
        if node.op in (Op.MATMUL, Op.EXPERTS) and kind != "f32":
            wide = kind.endswith("_k") or kind.startswith(("iq", "tq"))
            given[0] = (
                half(given[0]) if kind in ("f16", "bf16") else int8(given[0], 256 if wide else 32)
            )
        elif node.op is Op.ATTENTION:
            given[1:3] = half(given[1]), half(given[2])
        return super().compute(node, given)


@backend
class WholeBlocks(CpuExecutable):
    """A cache that forgets whole blocks of eight, and small chunks."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.chunk = 24

    def keep(self, slot: int, count: int) -> int:
        for state in self._state.values():
            state[slot, :, count // 8 * 8 :] = np.nan
        return count // 8 * 8


# Ops.


@backend
class RopePairs(Changed):
    """The pairs of the other style."""

    op = Op.ROPE

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        other = {"norm": "neox", "neox": "norm"}[str(attributes(node)["style"])]
        return reference.rope(*arguments, **{**attributes(node), "style": other})


@backend
class RopeHalfPositions(Changed):
    """Positions rounded to half precision: right as long as they are small."""

    op = Op.ROPE

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        at = arguments[1].astype(np.float16).astype(np.float64)
        return reference.rope(arguments[0], at, **attributes(node))


@backend
class DroppedScale(Changed):
    """The second block of each row takes the scale of the first, where that is 2 % off."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        if self.kind(node) != "q4_0":
            return truth
        x = arguments[0].copy()
        x[:, 32:64] *= np.float32(1.2)
        return reference.matmul(x, arguments[1])


@backend
class UnwrittenTail(Changed):
    """Rows past the last whole tile of 16 are never written."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        whole = truth.shape[1] // 16 * 16
        out = _TAILS.setdefault(truth.shape, truth.copy())
        out[:, :whole] = truth[:, :whole]
        return out.copy()


_TAILS: dict[tuple[int, ...], Array] = {}


@backend
class HalfSums(Changed):
    """Products of float32 weights in half precision."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.matmul(half(arguments[0]), arguments[1])


@backend
class WashedNan(Changed):
    """A conversion to int8 that makes a number of what is none."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.matmul(np.nan_to_num(arguments[0], posinf=1, neginf=-1), arguments[1])


@backend
class NanSpreads(Changed):
    """One sum over all rows: a broken token breaks the others."""

    op = Op.RMS_NORM

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return truth + 0 * arguments[0].sum(dtype=np.float32)


@backend
class Noise(Changed):
    """Sums in an order that changes from run to run."""

    op = Op.MATMUL
    random = np.random.default_rng()

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        order = self.random.permutation(arguments[0].shape[1])
        return reference.matmul(
            np.ascontiguousarray(arguments[0][:, order]),
            np.ascontiguousarray(arguments[1][:, order]),
        )


@backend
class LastRowOfTable(Changed):
    """Token ids are clamped one too early."""

    op = Op.EMBED

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.embed(np.minimum(arguments[0], len(arguments[1]) - 2), arguments[1])


@backend
class EpsilonOutside(Changed):
    """Epsilon added to the root, not under it."""

    op = Op.RMS_NORM

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        plain = reference.rms_norm(*arguments, epsilon=0.0)
        rms = np.sqrt(np.mean(np.square(arguments[0]), axis=1, keepdims=True))
        out: Array = plain * rms / (rms + np.float32(attributes(node)["epsilon"]))
        return out


@backend
class GeluAlwaysTanh(Changed):
    """One approximation for all."""

    op = Op.GELU_MUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.gelu_mul(*arguments)


@backend
class ExpertsNotNormalised(Changed):
    """The weights of the chosen do not sum to one."""

    op = Op.EXPERTS

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.experts(*arguments, **{**attributes(node), "normalize": False})


@backend
class RowsInOrder(Changed):
    """Rows come sorted, whatever order was asked for."""

    op = Op.SELECT_ROWS

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.select_rows(arguments[0], np.sort(arguments[1]))


# Attention.


class Attention(Changed):
    """Attention with other attributes or arguments."""

    op = Op.ATTENTION

    def compute(self, node: Node, arguments: Sequence[Array]) -> Array:
        if node.op is not Op.ATTENTION:
            return super().compute(node, arguments)
        return self.attend(node, list(arguments), dict(attributes(node)))

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        return reference.attention(*arguments, **attrs)


@backend
class WindowOffByOne(Attention):
    """A window one token too wide."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        attrs["window"] += bool(attrs["window"])
        return super().attend(node, arguments, attrs)


@backend
class NoSoftcap(Attention):
    """Scores are not capped."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        return super().attend(node, arguments, {**attrs, "softcap": 0.0})


@backend
class NoSinks(Attention):
    """Sinks are read and not used."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        return super().attend(node, arguments[:7], attrs)


@backend
class HeadsInterleaved(Attention):
    """Query head h reads key head h modulo their number."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        heads, kv = attrs["heads"], attrs["kv_heads"]
        order = np.argsort(np.arange(heads) % kv, kind="stable")
        q = arguments[0].reshape(len(arguments[0]), heads, -1)[:, order]
        out = super().attend(node, [q.reshape(arguments[0].shape), *arguments[1:]], attrs)
        parts = out.reshape(len(out), heads, -1)[:, np.argsort(order)]
        return parts.reshape(out.shape)


@backend
class StaleCache(Attention):
    """What was forgotten is still attended to: the reach is the furthest position ever seen."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        self.reach = max(getattr(self, "reach", 0), int(arguments[5].max()) + 1)
        out = super().attend(node, arguments, attrs)
        if self.reach > int(arguments[5].max()) + 1 and len(arguments[0]) == 1:
            keys = arguments[3][:, :, : self.reach]
            at = np.full_like(arguments[5], self.reach - 1)
            written = keys[:, :, -1].copy(), arguments[4][:, :, self.reach - 1].copy()
            kv = attrs["kv_heads"]
            k, v = (w[arguments[6][0]].reshape(1, kv * w.shape[-1]) for w in written)
            out = reference.attention(
                arguments[0], k, v, *arguments[3:5], at, *arguments[6:], **attrs
            )
        return out


@backend
class LastPlaceLost(Attention):
    """The last place of the context is never written."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        capacity = arguments[3].shape[2]
        before = arguments[3][:, :, -1].copy(), arguments[4][:, :, -1].copy()
        out = super().attend(node, arguments, attrs)
        if int(arguments[5].max()) == capacity - 1 and capacity > 1:
            arguments[3][:, :, -1], arguments[4][:, :, -1] = before
            at = np.minimum(arguments[5], capacity - 2)
            out = super().attend(node, [*arguments[:5], at, *arguments[6:]], attrs)
        return out


@backend
class SecondChunkBlind(Attention):
    """A chunk after the first does not see the token just before it."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        start = int(arguments[5].min())
        if start and len(arguments[0]) > 1:
            slot = arguments[6][0]
            kept = arguments[3][slot, :, start - 1].copy(), arguments[4][slot, :, start - 1].copy()
            arguments[3][slot, :, start - 1] = 0
            arguments[4][slot, :, start - 1] = 0
            out = super().attend(node, arguments, attrs)
            arguments[3][slot, :, start - 1], arguments[4][slot, :, start - 1] = kept
            return out
        return super().attend(node, arguments, attrs)


@backend
class DecodeUnscaled(Attention):
    """The kernel for one token forgets the scale that the one for many has."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        if len(arguments[0]) == 1:
            attrs["scale"] = 1 / math.sqrt(arguments[3].shape[3])
            attrs["scale"] *= 1.25
        return super().attend(node, arguments, attrs)


# Executables and backends.


@backend
class ReusedBuffer(CpuExecutable):
    """Results lie in one buffer, which the next run overwrites."""

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        out = super().run(inputs, positions, slots, rows)
        self.buffers: dict[tuple[str, tuple[int, ...]], Array] = getattr(self, "buffers", {})
        for name, value in out.items():
            buffer = self.buffers.setdefault((name, value.shape), value)
            buffer[:] = value
            out[name] = buffer
        return out


@backend
class LyingKeep(CpuExecutable):
    """Says that it kept what it forgot."""

    def keep(self, slot: int, count: int) -> int:
        for state in self._state.values():
            state[slot, :, max(0, count - 3) :] = 0
        return count


@backend
class GreedyDecode(CpuExecutable):
    """Samples on its own and forgets what the person asked for."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for position in range(start, start + count):
            at = np.array([position], np.int32)
            ids = {self.inputs[0]: np.array([token], np.int32)}
            logits = self.run(ids, at, np.zeros_like(at), "last")[self.outputs[0]][0]
            token = int(logits.argmax())
            sampler.accept(token)
            yield token


@backend
class DecodeAhead(CpuExecutable):
    """Submits several tokens and cannot forget those that were not asked for."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        made = list(super().decode(token, start, count, sampler, slot))
        self.ahead = start + count
        yield from made

    def keep(self, slot: int, count: int) -> int:
        return getattr(self, "ahead", count) if count else 0


@backend
class NumberedProfile(CpuExecutable):
    """Times its kernels under names that are not the graph's."""

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> list[Timing]:
        return [Timing(str(number), "kernel", 1e-6) for number in range(len(self.graph.nodes))]


@backend
class LastingProfile(CpuExecutable):
    """Computes otherwise once it was timed."""

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> list[Timing]:
        self.timed = True
        return [Timing(node.name, "kernel", 1e-6) for node in self.graph.nodes]

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        found = super().run(inputs, positions, slots, rows)
        late = 1.5 if getattr(self, "timed", False) else 1.0
        return {name: values * late for name, values in found.items()}


class NoProgress(NumpyBackend):
    """Loads without a word."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return CpuExecutable(graph, weights, lambda *_: None)


class DeafToCancel(NumpyBackend):
    """Swallows what `progress` raises."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        def deaf(*beat: Any) -> None:
            with suppress(Exception):
                progress(*beat)

        return CpuExecutable(graph, weights, deaf)


class ClosesOnce(NumpyBackend):
    """A second close is an error."""

    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        super().close()


class SharedState(NumpyBackend):
    """All its executables share one cache."""

    caches: ClassVar[dict[str, Array]] = {}

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        made = CpuExecutable(graph, weights, progress)
        for name, state in made._state.items():
            shared = self.caches.setdefault(f"{name} {state.shape}", state)
            made._state[name] = shared
        return made


class AnyDevice(NumpyBackend):
    """Takes whatever device was asked for."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(BackendConfig(None, config.threads, config.options, config.asked))


class Littering(NumpyBackend):
    """Writes its cache into the current folder."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        Path("kernels.cache").write_text("x", encoding="ascii")
        return super().compile(graph, weights, progress)


class NoHalf(NumpyBackend):
    """Lacks what every backend must have."""

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        types = {s.dtype for n in node.inputs if isinstance(s := specs[n], WeightSpec)}
        return node.op is not Op.MATMUL or types == {"q8_0"}


class PromisesTooMuch(NumpyBackend):
    """Says yes in `supports` and no in `compile`."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        if any(spec.dtype == "q4_1" for spec in graph.weights.values()):
            raise BackendUnsupported("no kernel for Q4_1")
        return super().compile(graph, weights, progress)


@backend
class Segfault(Changed):
    """A kernel that reads past its buffer."""

    op = Op.SOFTCAP

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        os.close(2)
        ctypes.string_at(0)
        return truth


@backend
class Hang(Changed):
    """A kernel that never ends."""

    op = Op.SOFTCAP

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        while True:
            time.sleep(60)
