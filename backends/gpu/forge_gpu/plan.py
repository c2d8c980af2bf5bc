"""A graph as steps: what is added to a product is added in it, and what one reader can do by itself
waits for that reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from forge.backend import (
    BackendUnsupported,
    Graph,
    Op,
    StateSpec,
    Step,
    TensorSpec,
    Value,
    attributes,
    steps,
)
from forge.graph import ROWS

_GATES = (Op.SILU_MUL, Op.GELU_MUL)


class Plan:
    """A graph's steps in their order, and who reads what."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.specs: dict[str, Value] = graph.validate()
        self.steps = steps(graph)

    @cached_property
    def made_by(self) -> Mapping[str, Step]:
        """Steps by what they make."""
        return {step.out: step for step in self.steps}

    @cached_property
    def readers(self) -> Mapping[str, Sequence[Step]]:
        """By value, the steps that read it; one that reads it twice is there twice."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in step.operands:
                found.setdefault(name, []).append(step)
        return found

    def activation(self, name: str) -> TensorSpec:
        """What the graph says of a value that is made in a run."""
        spec = self.specs[name]
        if not isinstance(spec, TensorSpec):
            raise BackendUnsupported(f"{name} is {spec}, not an activation")
        return spec

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Weights of a gate and of what it is multiplied by: they lie side by side."""
        return [
            (self.made_by[step.reads[0]].reads[1], self.made_by[step.reads[1]].reads[1])
            for step in self.steps
            if step.node.op in _GATES
            and len(step.reads) == 2
            and _fast_gate(step)
            and self._one_kernel(step, lambda _: True)
        ]

    def state(self, name: str) -> StateSpec:
        """What the graph says of a cache."""
        spec = self.specs[name]
        if not isinstance(spec, StateSpec):
            raise BackendUnsupported(f"{name} is {spec}, not a state")
        return spec

    def width(self, name: str) -> int:
        """Columns of an activation."""
        return int(self.activation(name).shape[-1])

    def of_rows(self, name: str) -> bool:
        """Whether it has a row for each output that is wanted, not for each token."""
        return self.activation(name).shape[0] == ROWS

    def section(self, rows: bool) -> list[Step]:
        """The steps for tokens, or those for wanted rows."""
        return [step for step in self.steps if self.of_rows(step.out) is rows]

    def kept(self, name: str) -> bool:
        """Whether somebody reads it when its section is over."""
        mine = self.of_rows(name)
        later = any(self.of_rows(s.out) is not mine for s in self.readers.get(name, ()))
        return later or name in self.graph.outputs

    def scores(self, step: Step) -> bool:
        """Whether it makes the scores that choose experts: rounding would choose other ones."""
        return any(
            reader.node.op is Op.EXPERTS and reader.reads[1] == step.out
            for reader in self.readers.get(step.out, ())
        )

    def _only_products(self, name: str, takes: Callable[[Step], bool]) -> bool:
        """Whether it is read by such products alone, as what they multiply."""
        readers = self.readers.get(name, ())
        return (
            bool(readers)
            and not self.kept(name)
            and all(
                step.node.op is Op.MATMUL
                and step.reads[0] == name
                and step.residual != name
                and takes(step)
                for step in readers
            )
        )

    def waiting(self, takes: Callable[[Step], bool], *, pairs: bool) -> frozenset[str]:
        """Values that their readers make for themselves.

        Norms and gates that only products read, all of which `takes` says yes to; with `pairs`, a
        gate rather makes its two products itself.
        """
        found: set[str] = set()
        for step in self.steps:
            if (step.node.op is Op.ROPE and self._for_attention(step)) or (
                step.node.op is Op.RMS_NORM and self._whole_rows(step, takes)
            ):
                found.add(step.out)
            elif step.node.op in _GATES and len(step.reads) == 2 and _fast_gate(step):
                if pairs:
                    found.update(step.reads if self._one_kernel(step, takes) else ())
                elif step.reads[1] in self.made_by and self._only_products(step.out, takes):
                    found.add(step.out)
        return frozenset(found)

    def _for_attention(self, step: Step) -> bool:
        """Whether a rotation is of q or of k for attention alone, which gets the other one too."""
        readers = self.readers.get(step.out, ())
        if len(readers) != 1 or readers[0].node.op is not Op.ATTENTION:
            return False
        pair = [self.made_by.get(name) for name in readers[0].reads[:2]]
        q, k = pair
        return (
            q is not None
            and k is not None
            and step in (q, k)
            and q.node.op is k.node.op is Op.ROPE
            and not (self.kept(q.out) or self.kept(k.out))
            and len(self.readers[q.out]) == len(self.readers[k.out]) == 1
            and _turns(q) == _turns(k)
        )

    def _whole_rows(self, step: Step, takes: Callable[[Step], bool]) -> bool:
        if len(step.reads) != 2 or not self._only_products(step.out, takes):
            return False
        return self.specs[step.reads[1]].shape[-1] == self.width(step.out)

    def _one_kernel(self, step: Step, takes: Callable[[Step], bool]) -> bool:
        """Whether gate and up are products of one value, made for this step, and of one type."""
        pair = [self.made_by.get(name) for name in step.reads]
        gate, up = pair
        if gate is None or up is None or gate is up:
            return False
        return (
            all(
                s.node.op is Op.MATMUL
                and takes(s)
                and not (s.bias or s.residual or self.kept(s.out))
                and len(self.readers[s.out]) == 1
                for s in (gate, up)
            )
            and gate.reads[0] == up.reads[0]
            and self.specs[gate.reads[1]].dtype == self.specs[up.reads[1]].dtype
        )

    def last_uses(self, steps: Sequence[Step], waiting: frozenset[str]) -> dict[str, int]:
        """By value, the index of the last step that needs it, itself or in what waits for it."""
        last: dict[str, int] = {}
        for index, step in enumerate(steps):
            last.setdefault(step.out, index)
            last.update(dict.fromkeys(step.operands, index))
        for step in reversed(steps):
            if step.out in waiting:
                for name in step.operands:
                    last[name] = max(last[name], last[step.out])
        return last


def _turns(step: Step) -> tuple[object, ...]:
    """How a rotation turns its heads."""
    attrs = attributes(step.node)
    return attrs["frequencies"], attrs["style"], attrs["magnitude"]


def _fast_gate(step: Step) -> bool:
    """Whether the products' kernels have it: all but the exact gelu."""
    return attributes(step.node).get("approximation") != "none"
