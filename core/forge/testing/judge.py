"""Runs a case's steps and compares what came out with the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forge.testing.cases.bounds import TILE, Bound
from forge.testing.cases.case import OUT, Step

Array: TypeAlias = NDArray[Any]
Run: TypeAlias = tuple[dict[str, Array], Step]


class Runs(Protocol):
    """An executable or the truth."""

    def run(self, inputs: Any, positions: Sequence[int], rows: Any, slots: Any) -> dict[str, Array]:
        """The outputs by name."""


def runs(subject: Runs, steps: Iterable[Run]) -> list[Array]:
    """The output of each step."""
    return [
        subject.run(values, step.positions, step.rows, step.sequences)[OUT]
        for values, step in steps
    ]


def compare(found: Sequence[Array], truth: Sequence[Array], bound: Bound) -> None:
    """AssertionError with figures where shapes, types or numbers are not as they must be."""
    for got, expected in zip(found, truth, strict=True):
        assert got.shape == expected.shape, f"shape {got.shape}, not {expected.shape}"
        assert got.dtype == np.float32, f"type {got.dtype}, not float32"
        finite = np.isfinite(got) == np.isfinite(expected)
        assert finite.all(), f"{np.count_nonzero(~finite)} of {finite.size} are not finite"
    elements = sum(expected.size for expected in truth)
    if not elements:
        return
    energy = sum(float(np.square(expected).sum()) for expected in truth) / elements
    errors = [np.square(a.astype(np.float64) - b) for a, b in zip(found, truth, strict=True)]
    whole = sum(float(error.sum()) for error in errors) / elements / (energy or 1.0)
    assert whole <= bound.whole, f"error {whole:.3g}, bound {bound.whole:.3g}"
    for number, error in enumerate(errors):
        if error.size:
            worst, where = _worst_tile(error)
            local = worst / (energy or 1.0)
            assert local <= bound.local, (
                f"run {number}, token {where[0]}, columns from {where[1]}: "
                f"error {local:.3g}, bound {bound.local:.3g}"
            )


def _worst_tile(error: Array) -> tuple[float, tuple[int, int]]:
    """The largest mean over TILE neighbours of a row, and its row and first column."""
    rows, columns = error.shape
    padded = np.zeros((rows, -(-columns // TILE) * TILE))
    padded[:, :columns] = error
    tiles = padded.reshape(rows, -1, TILE).sum(axis=2) / min(TILE, columns)
    row, tile = np.unravel_index(int(tiles.argmax()), tiles.shape)
    return float(tiles[row, tile]), (int(row), int(tile) * TILE)
