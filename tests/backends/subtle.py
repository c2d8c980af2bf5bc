"""Bugs as kernels for real devices have them: right in small tests, wrong where those do not look.

Each is a `package.module:Class` for --forge-backend, as those of mutants.py.
"""

from __future__ import annotations

import atexit
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from mutants import Attention, Changed, backend, int8

from forge.backend import (
    Array,
    Executable,
    Graph,
    Node,
    Op,
    Progress,
    Rows,
    Sampler,
    SamplingParams,
    Value,
    Weight,
    attributes,
    reference,
)
from forge_cpu.executable import CpuExecutable
from forge_cpu.plain import NumpyBackend

# Ops.


@backend
class RareRace(Changed):
    """Two threads write one number; the wrong one is last in one run of fifty."""

    op = Op.SOFTCAP
    dice = random.Random(7)

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        if self.dice.random() < 0.02:
            truth[0, -1] = np.nextafter(truth[0, -1], np.float32(np.inf))
        return truth


@backend
class OneScale(Changed):
    """Activations in int8 with one scale for all of a token."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        return reference.matmul(int8(arguments[0], arguments[0].shape[1]), arguments[1])


@backend
class SecondTileOfTokens(Changed):
    """Tokens past 256 are computed with the first of their tile."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        truth[256:] = truth[256:257]
        return truth


@backend
class EightTokens(Changed):
    """The kernel for exactly eight tokens leaves out the last."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        if len(truth) == 8:
            truth[7] = truth[6]
        return truth


@backend
class GridOfRows(Changed):
    """A workgroup for each row, and no more than 65535 of them."""

    op = Op.MATMUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        truth[:, 65535:] = 0
        return truth


@backend
class GridOfNumbers(Changed):
    """A workgroup for each 64 numbers, and no more than 65535 of them."""

    op = Op.SILU_MUL

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        truth.reshape(-1)[65535 * 64 :] = 0
        return truth


@backend
class OneWarpOfExperts(Changed):
    """The best are looked for among the first 32."""

    op = Op.EXPERTS

    def change(self, node: Node, arguments: list[Array], truth: Array) -> Array:
        scores = arguments[1].copy()
        scores[:, 32:] = -30
        return reference.experts(arguments[0], scores, *arguments[2:], **attributes(node))


@backend
class OddHeads(Attention):
    """Heads are taken as multiples of 16: the rest of a dot product is lost."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        size, heads = arguments[3].shape[3], attrs["heads"]
        q = arguments[0].reshape(len(arguments[0]), heads, size).copy()
        q[..., size // 16 * 16 :] = 0
        return super().attend(node, [q.reshape(len(q), -1), *arguments[1:]], attrs)


@backend
class FourTokens(Attention):
    """The kernel for four tokens at an odd position reads the first one's key as its own."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        out = super().attend(node, arguments, attrs)
        if len(out) == 10 and arguments[5][0] % 2:
            out[9] = out[8]
        return out


# Arrays and values.


@backend
class Float64(CpuExecutable):
    """Logits as the host's language has them."""

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        out = super().run(inputs, positions, slots, rows)
        return {n: v.astype(np.float64) if n == "logits" else v for n, v in out.items()}


@backend
class WritesToPositions(CpuExecutable):
    """The caller's array is where the next positions are made."""

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        out = super().run(inputs, positions, slots, rows)
        positions += 1
        return out


class FusesInPlace(NumpyBackend):
    """Writes what it fused into the graph that it was given."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        for node in graph.nodes:
            if node.op is Op.RMS_NORM:
                node.attrs["epsilon"] = np.float32(node.attrs["epsilon"]).item()  # type: ignore[index]
        return CpuExecutable(graph, weights, progress)


# Executables side by side.


class WeightsByName(NumpyBackend):
    """Uploads a weight once for all its executables, and takes the name for the weight."""

    cache: ClassVar[dict[Any, Array]] = {}

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        made = CpuExecutable(graph, weights, progress)
        if graph.name.startswith("llama") or len(graph.nodes) > 9:
            for name, spec in graph.weights.items():
                made._weights[name] = self.cache.setdefault(spec, made._weights[name])
        return made


class StateOfTheLast(NumpyBackend):
    """One pool for the state, which compiling anew clears."""

    last: ClassVar[list[CpuExecutable]] = []

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        for other in self.last:
            for state in other._state.values():
                state[:] = 0
        made = CpuExecutable(graph, weights, progress)
        self.last.append(made)
        return made


@backend
class OneReplay(CpuExecutable):
    """All executables replay one recorded step, whose token stays where it was put."""

    fed: ClassVar[list[int]] = [0]

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        self.fed[0] = token
        for position in range(start, start + count):
            (self.fed[0],) = super().decode(self.fed[0], position, 1, sampler, slot)
            yield self.fed[0]


@backend
class KeepForAll(CpuExecutable):
    """What one slot forgets all forget."""

    def keep(self, slot: int, count: int) -> int:
        for state in self._state.values():
            state[:, :, count:] = 0
        return count


@backend
class SlotOfTheFirst(Attention):
    """The slot of a run's first token is that of all."""

    def attend(self, node: Node, arguments: list[Array], attrs: dict[str, Any]) -> Array:
        if len(arguments[0]) == 2:  # the kernel for a batch
            arguments[5] = np.full_like(arguments[5], arguments[5][0])
        return super().attend(node, arguments, attrs)


@backend
class DecodesSlotZero(CpuExecutable):
    """The recorded step has the first slot's addresses."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        return super().decode(token, start, count, sampler, 0)


# Decoding.


@backend
class DrawsItsOwnWay(CpuExecutable):
    """Samples on its device, where temperature and seed are all that it knows."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        asked = sampler.params
        plain = SamplingParams(
            temperature=asked.temperature, seed=asked.seed, top_k=0, top_p=1.0, min_p=0.0
        )
        for drawn in super().decode(token, start, count, Sampler(plain), slot):
            sampler.accept(drawn)
            yield drawn


@backend
class AcceptsNothing(CpuExecutable):
    """Draws as the sampler does, and does not tell it."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for position in range(start, start + count):
            at = np.array([position], np.int32)
            ids = {self.inputs[0]: np.array([token], np.int32)}
            logits = self.run(ids, at, np.full_like(at, slot), "last")[self.outputs[0]][0]
            token = sampler.sample(logits, position + 1)
            yield token


@backend
class AllAtTheEnd(CpuExecutable):
    """One submission for the whole reply."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        yield from list(super().decode(token, start, count, sampler, slot))


@backend
class OneTooMany(CpuExecutable):
    """Yields the token after the last one, too, where there is room."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        return super().decode(token, start, count + (count == 24), sampler, slot)


@backend
class NanIsAToken(CpuExecutable):
    """The largest of NaN is the first."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for position in range(start, start + count):
            at = np.array([position], np.int32)
            ids = {self.inputs[0]: np.array([token], np.int32)}
            logits = self.run(ids, at, np.full_like(at, slot), "last")[self.outputs[0]][0]
            token = int(np.nan_to_num(logits).argmax())
            sampler.accept(token)
            yield token


# Processes.


class HangsAtExit(NumpyBackend):
    """A handler that waits for the driver when the process ends."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        atexit.register(time.sleep, 600)


class NoByItself(NumpyBackend):
    """Says no to the suite's own graphs, so that it is not asked to compute them."""

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        return node.name != "out" and super().supports(node, specs)
