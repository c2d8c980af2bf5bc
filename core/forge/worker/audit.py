"""Whether what `decode` said, and the prefix that `keep` kept, is what `run` computes.

The last token is forgotten and computed again, alone, at the same place: nothing is different
afterwards but for rounding, and on a backend whose two roads round alike nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from forge.backend import Array
from forge.errors import BackendWrong
from forge.graph import Graph, Op
from forge.worker.watched import Glimpse, WatchedSampler

EVERY = 256
"""Positions from one audit of decoded tokens to the next: each costs about a token's time."""
WITNESSES = 4
"""Tokens in a row that all must be wrong: one may be, where rounding decides about an expert."""
CLOSE = 0.01
"""Where the last token of a prefix is computed as part of a longer run, and its row is no further
from what it was, it is right; else it is computed alone, as it was then."""
SAME = 1e-3
"""The same run gives the same bits. This much, of the row's mean square, is left to backends whose
sums come in another order each time, which the contract does not allow."""
_DENSE, _EXPERTS = 0.05, 0.5
"""What two roads through a model may differ by, of the row's mean square, in every one of several
rows: see docs/decisions/008. Where rounding chooses an expert a whole layer is another."""
_CHANCE = 8
"""Three standard deviations of a single error, squared, are 9 times what is usual."""


def bound(graph: Graph) -> float:
    """The largest mean square difference, of a row's mean square, that is no fault."""
    return _EXPERTS if any(node.op is Op.EXPERTS for node in graph.nodes) else _DENSE


def strangeness(row: Array, position: int, token: int, sampler: WatchedSampler) -> float:
    """How far the logits that were heard for `position` are from `row`, or the token, unheard.

    In the row's mean square. A token that no sampler was asked for is judged by how much its logit
    lacks of the least one that can be drawn; where penalties decide it is not judged.
    """
    size = float(np.square(row, dtype=np.float64).mean()) or 1.0
    if (heard := sampler.heard(position)) is not None:
        return heard.distance(row) / (1 + _CHANCE / heard.ids.size)
    if not sampler.candidates:
        return 0.0
    ids, _ = sampler.probabilities(row)
    lacking = max(0.0, float(row[ids].min() - row[token]))
    return (lacking / 2) ** 2 / size / (1 + _CHANCE)  # both logits may be off


def audited(
    again: Callable[[int], Sequence[Array]],
    tokens: Sequence[int],
    drawn: int,
    sampler: WatchedSampler,
    limit: float,
) -> Array:
    """The row for the last of `tokens`; BackendWrong if the last ones were not so made.

    `drawn` of the tokens are decode's. `again(n)` gives the rows that the last n come from, which
    are computed for it once more.
    """
    (row,) = again(1)
    position = len(tokens) - 1
    if strangeness(row, position, tokens[-1], sampler) <= limit or drawn < WITNESSES:
        return row
    rows = again(WITNESSES)
    errors = [
        strangeness(row, at, tokens[at], sampler)
        for at, row in enumerate(rows, position - WITNESSES + 1)
    ]
    if not min(errors) <= limit:
        raise BackendWrong(
            "the backend decodes tokens that its runs do not give: at each of the last "
            f"{WITNESSES} the error is {min(errors):.2g} or more, bound {limit:.2g}"
        )
    return rows[-1]


def same(before: Glimpse, row: Array) -> None:
    """BackendWrong unless a run that was made once more gives the same."""
    if not (error := before.distance(row)) <= SAME:
        raise BackendWrong(
            "the backend did not keep what it said it kept: the last token of the prefix computes "
            f"wrongly, error {error:.2g}, bound {SAME:.2g}"
        )
