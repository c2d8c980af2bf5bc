"""What changes from run to run, where the kernels look for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forge.backend import Array
from forge_cpu.steps import Frame


class Inputs:
    """Owns the counts of tokens and of wanted rows, and the integer inputs [tokens at most]."""

    _LOOKED_UP = "tokens", "positions"
    """Inputs that may be row numbers of a table, which kernels take as int64."""

    def __init__(self, most: int) -> None:
        self.tokens = np.zeros(1, np.int64)
        self.rows = np.zeros(1, np.int64)
        self._integers: dict[str, Array] = {
            name: np.zeros(most, np.int32) for name in ("tokens", "positions", "slots", "rows")
        }
        self._numbers = {name: np.zeros(most, np.int64) for name in self._LOOKED_UP}
        self.frame = Frame(self.tokens, self["positions"], self["slots"])

    def __getitem__(self, name: str) -> Array:
        """An integer input's memory."""
        return self._integers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._integers

    def row_numbers(self, name: str) -> Array:
        """An integer input as rows of a table."""
        return self._numbers[name]

    def set(self, values: Mapping[str, Array]) -> None:
        """The integer inputs of a run; positions and rows tell how many there are."""
        for name, value in values.items():
            if name in self._integers:
                self._integers[name][: len(value)] = value
            if name in self._numbers:
                self._numbers[name][: len(value)] = value
        self.tokens[0], self.rows[0] = len(values["positions"]), len(values["rows"])
