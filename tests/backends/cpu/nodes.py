"""One node of a graph as a program: what the kernels make of a conformance case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.backend import Graph, Op, attributes, row_indices
from forge_cpu.crew import Crew
from forge_cpu.kv import Attention, KvCache, KvLayout
from forge_cpu.library import Library
from forge_cpu.program import Program
from forge_cpu.steps import (
    AttentionStep,
    Frame,
    add_angles,
    add_elementwise,
    add_norm,
    add_rope,
    add_select_rows,
)

Array = NDArray[Any]


class NodeRun:
    """Owns the program, the cache and the activations, which are poisoned before each run."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        library: Library,
        crew: Crew,
        *,
        tokens: int = 512,
        cache: str = "",
    ) -> None:
        (self.node,) = graph.nodes
        self.crew, self.library, self.graph = crew, library, graph
        self.weights, self.cache = weights, cache
        self.attrs: dict[str, Any] = attributes(self.node)
        specs = graph.validate()
        self.frame = Frame(
            np.zeros(1, np.int64), np.zeros(tokens, np.int32), np.zeros(tokens, np.int32)
        )
        self.rows, self.count = np.zeros(tokens, np.int32), np.zeros(1, np.int64)
        self.x = {
            name: np.full((tokens, spec.shape[1]), np.nan, np.float32)
            for name, spec in graph.inputs.items()
            if name not in ("positions", "slots", "rows")
        }
        self.out = np.zeros((tokens, specs[self.node.name].shape[1]), np.float32)
        self.programs = {single: Program(library) for single in (False, True)}
        for single, program in self.programs.items():
            getattr(self, f"_{self.node.op}", self._elementwise)(program, single)

    def run(
        self, inputs: Mapping[str, Array], positions: Any, rows: Any = "all", slots: Any = 0
    ) -> dict[str, Array]:
        """As an executable's."""
        count = len(positions)
        self.frame.tokens[0] = count
        self.frame.positions[:count], self.frame.slots[:count] = positions, slots
        for name, x in self.x.items():
            x[:] = np.nan
            x[:count] = inputs[name]
        self.out[:] = np.nan
        wanted = row_indices(rows, count)
        self.rows[: len(wanted)], self.count[0] = wanted, len(wanted)
        self.crew.run(self.programs[count == 1])
        made = len(wanted) if self.node.op is Op.SELECT_ROWS else count
        assert np.isnan(self.out[made:]).all(), "rows past the run were written"
        return {self.node.name: self.out[:made].copy()}

    def _operand(self, index: int) -> Array | None:
        if index >= len(self.node.inputs):
            return None
        name = self.node.inputs[index]
        return self.x[name] if name in self.x else self.weights[name]

    def _elementwise(self, program: Program, _: bool) -> None:
        op = self.node.op
        kernel = f"elementwise.{op}"
        if op is Op.SILU_MUL:
            kernel = "gates.silu_mul"
        elif op is Op.GELU_MUL:
            kernel = f"gates.gelu_mul_{self.attrs['approximation']}"
        number = self.attrs.get("cap", self.attrs.get("factor", 0.0))
        a, b = self._operand(0), self._operand(1)
        add_elementwise(program, kernel, self.frame.tokens, self.out, a, b, number)

    def _rms_norm(self, program: Program, _: bool) -> None:
        x, weight, bias = (self._operand(i) for i in range(3))
        add_norm(
            program,
            self.frame.tokens,
            x,
            self.out,
            epsilon=self.attrs["epsilon"],
            size=None if weight is None else len(weight),
            centred=self.node.op is Op.LAYER_NORM,
            weight=weight,
            bias=bias,
        )

    _layer_norm = _rms_norm

    def _rope(self, program: Program, _: bool) -> None:
        attrs, frequencies = self.attrs, self.attrs["frequencies"]
        table = np.zeros((len(self.out), 2, len(frequencies)), np.float32)
        add_angles(program, self.frame, frequencies, attrs["magnitude"], table)
        x = self._operand(0)
        add_rope(program, self.frame.tokens, table, attrs["style"], attrs["heads"], x, self.out)

    def _select_rows(self, program: Program, _: bool) -> None:
        add_select_rows(program, self.count, self.rows, self._operand(0), self.out)

    def _attention(self, program: Program, single: bool) -> None:
        attrs = dict(self.attrs)
        keys, values = (self.graph.state[name] for name in self.node.inputs[3:5])
        layout = KvLayout(
            self.cache or keys.dtype,
            keys.slots,
            keys.heads,
            keys.capacity,
            keys.size,
            values.size,
        )
        node = Attention(attrs.pop("heads"), layout)
        attrs.pop("kv_heads")
        if not single:
            self.state = KvCache(layout)
            self.work = node.scratch(self.crew.size), node.partials()
            self.work[0][:] = np.nan
        q, k, v = (self._operand(i) for i in range(3))
        step = AttentionStep(
            *(self.frame, node, self.state, self.work, q, k, v, self.out),
            sinks=self._operand(7),
            single=single,
            **attrs,
        )
        step.add_tiles(program)
        step.add_join(program)
