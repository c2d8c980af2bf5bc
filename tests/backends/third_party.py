"""A third party's backend, as its author would write it: numpy and `forge.backend`, nothing else.

It takes F16 and F32 weights only, its cache forgets whole blocks, and it samples several tokens a
submission from the largest logits. FAULT=kind@place:time raises there; BUG=op computes it wrongly;
BREACH=term breaks that term of the contract; FREE=bytes is what its device has left;
KV="f16 f32" are the types of cache that it has.
"""

from __future__ import annotations

import builtins
import os
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

import forge.backend
from forge import miniature
from forge.backend import (
    Array,
    Backend,
    BackendConfig,
    Check,
    Device,
    Executable,
    Graph,
    Memory,
    Node,
    Op,
    Progress,
    Rows,
    Sampler,
    StateSpec,
    Value,
    Weight,
    WeightSpec,
    attributes,
    reference,
    row_indices,
)

BLOCK, AHEAD = 8, 4
PASSED: Counter[str] = Counter()


def passing(place: str) -> None:
    """Fail here, if this is where and when to fail."""
    PASSED[place] += 1
    fault, _, rest = os.environ.get("FAULT", "").partition("@")
    where, _, time = rest.partition(":")
    if where == place and PASSED[place] == int(time or 1):
        kind = getattr(forge.backend, fault, None) or getattr(builtins, fault)
        raise kind(f"{fault} in {place}")


class ThirdBackend(Backend):
    """One imaginary device."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        passing("open")

    @property
    def device(self) -> Device:
        asked = " as asked" if self.config.asked else ""
        return Device(f"Third {self.config.device or 0}{asked}", "software")

    def devices(self) -> list[Device]:
        return [Device(f"Third {n}", "software", str(n)) for n in range(2)]

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        passing("supports")
        types = {spec.dtype for n in node.inputs if isinstance(spec := specs[n], WeightSpec)}
        plain = node.op is not Op.ATTENTION or not attributes(node)["softcap"]
        states = {spec.dtype for n in node.inputs if isinstance(spec := specs[n], StateSpec)}
        if not states <= {*os.environ.get("KV", "f16 f32 q8_0").split()}:
            return False
        return types <= {"f16", "f32"} and node.op is not Op.EXPERTS and plain

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        passing("compile")
        return ThirdExecutable(graph, weights, progress)

    def memory(self) -> Memory:
        passing("memory")
        return Memory(1 << 33, int(os.environ.get("FREE", 1 << 32)))

    def checks(self) -> list[Check]:
        passing("checks")
        return [Check("driver", True, "imaginary", "keep it so", 0.5)]


class ThirdExecutable(Executable):
    """Owns the weights in the type they came in, and a float32 cache."""

    chunk = 16

    def __init__(self, graph: Graph, weights: Mapping[str, Weight], progress: Progress) -> None:
        self._graph = graph
        self._replies = len(graph.nodes) > 1 and graph.name != miniature.NAME
        self._weights: dict[str, Array] = {}
        for done, (name, weight) in enumerate(weights.items(), 1):
            numbers = weight.raw().view(np.dtype(weight.spec.dtype.replace("f", "float")))
            self._weights[name] = numbers.reshape(weight.spec.shape).copy()
            weight.release()
            progress("load", done, len(weights), name)
        for dtype in {spec.dtype for spec in graph.state.values() if len(graph.nodes) > 1}:
            print(f"a cache of {dtype}", flush=True)  # noqa: T201  # the worker's log
        self._state = {name: np.full(s.shape, np.nan, "f4") for name, s in graph.state.items()}

    @property
    def graph(self) -> Graph:
        return self._graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        passing("run")
        values: dict[str, Array] = {n: w.astype("f4") for n, w in self._weights.items()}
        values |= {**self._state, **inputs, "positions": positions, "slots": slots}
        whole_model = len(self._graph.nodes) > 1  # the known-answer check would see it earlier
        rows = "all" if whole_model and os.environ.get("BREACH") == "rows" else rows
        values["rows"] = row_indices(rows, len(positions))
        for node in self._graph.nodes:
            arguments = [values[name] for name in node.inputs]
            values[node.name] = reference.KERNELS[node.op](*arguments, **attributes(node))
            if node.op == os.environ.get("BUG"):
                values[node.name] = values[node.name] * np.float32(1.05)
        return {name: values[name] for name in self._graph.outputs}

    def keep(self, slot: int, count: int) -> int:
        if self._replies:
            passing("keep")
        kept = count // BLOCK * BLOCK
        for state in self._state.values():
            state[slot, :, kept:] = np.nan
        print(f"kept {kept} of {count}", flush=True)  # noqa: T201  # the worker's log
        return count + 1 if self._replies and os.environ.get("BREACH") == "keep" else kept

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        if self._replies:
            passing("decode")
        made = 0
        try:
            while made < count:
                batch: list[int] = []
                while len(batch) < min(AHEAD, count - made):
                    token = self._next(token, start + made + len(batch), slot, sampler)
                    batch.append(token)
                for token in batch:
                    if self._replies:
                        passing("token")
                    made += 1
                    yield token
        finally:
            print(f"decoded {made} of {count}", flush=True)  # noqa: T201  # the worker's log

    def close(self) -> None:
        self._weights, self._state = {}, {}

    def _next(self, token: int, position: int, slot: int, sampler: Sampler) -> int:
        (name,), (output,) = self.inputs, self.outputs
        where, at = np.array([slot], "i4"), np.array([position], "i4")
        logits = self.run({name: np.array([token], "i4")}, at, where, "last")[output][0]
        if sampler.candidates:
            ids = np.sort(np.argsort(-logits)[: sampler.candidates])
            token = sampler.sample_from(ids, logits[ids], position + 1)
        else:
            token = sampler.sample(logits, position + 1)
        sampler.accept(token)
        return token
