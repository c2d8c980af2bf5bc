"""What the steps of a section know: where values are, and which wait for their readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from forge.backend import Op, Step, attributes
from forge_gpu.matrices import Matrix
from forge_gpu.memory import Region
from forge_gpu.plan import Plan
from forge_gpu.steps import products
from forge_gpu.steps.products import Coded, Halves, Next, Norm
from forge_gpu.steps.tiles import Quantised, quantise
from forge_gpu.tape import Activation, Tape


class Work:
    """What steps need beside their operands: weights, caches, tables, and room to work in."""

    def __init__(
        self,
        matrices: Mapping[str, Matrix],
        vectors: Mapping[str, Region],
        room: Callable[[object, int], Region],
        table: Callable[[tuple[float, ...]], Region],
        cache: Callable[[str], Region],
    ) -> None:
        self.matrices, self.vectors = matrices, vectors
        self.room, self.table, self.cache = room, table, cache


class Emitter:
    """Records one section for `most` rows; knows which values wait for their readers."""

    def __init__(
        self,
        tape: Tape,
        plan: Plan,
        work: Work,
        values: Mapping[str, Activation],
        *,
        most: int,
        waiting: frozenset[str],
    ) -> None:
        self.tape, self.plan, self.work = tape, plan, work
        self.values, self.most, self.waiting = values, most, waiting
        self._halved: dict[int, str] = {}
        self._quantised: dict[int, str] = {}
        self._coded: dict[str, Coded] = {}
        self.coopmat = tape.features.coopmat and most > 1

    @property
    def single(self) -> bool:
        """Whether it is for one row at a time."""
        return self.most == 1

    def attrs(self, step: Step) -> dict[str, Any]:
        """A node's attributes with their defaults."""
        return dict(attributes(step.node))

    def operand(self, name: str) -> Activation | Region:
        """An activation, or a weight of one row."""
        return self.work.vectors[name] if name in self.work.vectors else self.values[name]

    def norm_of(self, name: str) -> tuple[str, Norm | None]:
        """What is behind a value: if it waits as a norm, what is normed, and how."""
        if name in self.waiting and self.plan.made_by[name].node.op is Op.RMS_NORM:
            step = self.plan.made_by[name]
            weight = self.work.vectors[step.reads[1]]
            return step.reads[0], Norm(weight, float(self.attrs(step)["epsilon"]))
        return name, None

    def source(self, name: str, matrix: Matrix) -> tuple[Activation | Coded, Norm | None]:
        """What a product for one row reads: as int8 from where it was made, if that was asked."""
        behind, normed = self.norm_of(name)
        if matrix.quantised and name in self._coded:
            return self._coded[name], normed
        return self.values[behind], normed

    def following(self, name: str, matrix: Matrix, *, gate: bool = False) -> Next | None:
        """How the next products want what a product makes, if they read it as int8.

        A norm that they compute themselves comes first; the others read what was made.
        """
        if len(matrix.parts) > 1 or not products.codable(
            self.tape.features, matrix.kind, matrix.n, matrix.k, gate=gate
        ):
            return None
        for wanted in self._norms(name):
            if row := self.coded(wanted):
                return Next(row, self._norm_weight(wanted))
        row = self.coded(name)
        return Next(row) if row else None

    def coded(self, name: str) -> Coded | None:
        """Where a value goes as int8, if products read it so; from now on they do."""
        readers = self.plan.readers.get(name, ())
        if not any(self._reads_codes(step, name) for step in readers):
            return None
        width = self.plan.width(name)
        self._coded[name] = Coded(self.work.room(("coded", name), Coded.size(width)), width)
        return self._coded[name]

    def _norms(self, name: str) -> list[str]:
        return [
            step.out
            for step in self.plan.readers.get(name, ())
            if step.out in self.waiting and step.node.op is Op.RMS_NORM and step.reads[0] == name
        ]

    def _norm_weight(self, name: str) -> Region:
        return self.work.vectors[self.plan.made_by[name].reads[1]]

    def _reads_codes(self, step: Step, name: str) -> bool:
        if step.node.op is not Op.MATMUL or step.reads[0] != name:
            return False
        matrix = self.work.matrices[step.reads[1]]
        return matrix.quantised and products.fits_one(self.tape.features, matrix.kind, matrix.k)

    def halves(self, name: str) -> Halves:
        """A value as 16-bit floats; once for all products that read it."""
        width = self.plan.width(name)
        padded = -(-self.most // 128) * 128
        made = Halves(
            self.work.room(("halves", width), 2 * width * padded),
            self.work.room(("scales", width), 4 * padded),
        )
        if self._halved.get(width) != name:
            self._halved[width] = name
            source, normed = self.norm_of(name)
            gate = None
            if name in self.waiting and normed is None:
                step = self.plan.made_by[name]
                source, up = step.reads
                gate = gate_of(step), self.values[up]
            products.halve(self.tape, self.values[source], made, norm=normed, gate=gate)
        return made

    def quantised(self, name: str) -> Quantised:
        """A value as bytes in groups with a scale; once for all products that read it."""
        x = self.values[name]
        made = Quantised.over(
            self.work.room(("bytes", x.width), Quantised.size(x.width, self.most)), x
        )
        if self._quantised.get(x.width) != name:
            self._quantised[x.width] = name
            quantise(self.tape, x, made)
        return made


def gate_of(step: Step) -> str:
    """The name of a gate in the products' kernels."""
    if step.node.op is Op.SILU_MUL:
        return "silu"
    return str(attributes(step.node)["approximation"])
