"""Which experts a token goes to, with what weights; and its rows to them and back.

`route` chooses, `group` sorts the choices by expert, `gather` copies each token's row to its
experts' places, where a product per expert finds its rows side by side, and `combine` adds up what
the experts made. A token's sum goes by its own ranking of them, whoever else is in the run. One
token alone is its experts' only row: its choices are sorted as they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from forge_cpu.kernels.functions import exp, of_one
from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.loops import each
from forge_cpu.kernels.pointers import f32, float_of, i32, i64

GATINGS = ("softmax", "sigmoid", "softmax_selected")
"""By the number that `route` takes."""

_exp = of_one(exp)
_copy = each(lambda x, _: x, 1)
_first = each(lambda x, weight: x * weight, 1)
_more = each(lambda x, out, weight: x.times_plus(weight, out), 2)


@njit(inline="always")
def _best(scores, count, chosen, done):
    """The index of the next best score: the lower one among equals, NaN after all others."""
    best = -1
    for index in range(count):
        taken = False
        for i in range(done):
            if chosen[i] == index:
                taken = True
        if not taken:
            score = scores[index]
            if (
                best < 0
                or score > scores[best]
                or (scores[best] != scores[best] and score == score)
            ):
                best = index
    return best


@kernel
def route(args, thread, threads):
    """(tokens, experts, used, gating, normalize, factor, scores, stride, chosen i32, weights).

    chosen and weights are [tokens, used].
    """
    experts, used, gating = args[1], args[2], args[3]
    tokens, factor = i64(args[0])[0], np.float32(float_of(args[5]))
    for token in range(tokens * thread // threads, tokens * (thread + 1) // threads):
        scores = f32(args[6] + 4 * token * args[7])
        chosen, weights = i32(args[8] + 4 * token * used), f32(args[9] + 4 * token * used)
        for place in range(used):
            chosen[place] = _best(scores, experts, chosen, place)
        if gating == 1:
            for place in range(used):
                weights[place] = np.float32(1) / (np.float32(1) + _exp(-scores[chosen[place]]))
        else:
            top = scores[chosen[0]]
            below = np.float32(0)
            for place in range(used):
                weights[place] = _exp(scores[chosen[place]] - top)
                below += weights[place]
            if gating == 0:
                below = np.float32(0)
                for expert in range(experts):
                    below += _exp(scores[expert] - top)
            for place in range(used):
                weights[place] = weights[place] / below
        below = np.float32(1)
        if args[4] != 0:
            below = np.float32(0)
            for place in range(used):
                below += weights[place]
        for place in range(used):
            weights[place] = weights[place] / below * factor


@kernel
def group(args, thread, threads):
    """(tokens, experts, used, chosen, starts i32 [experts + 1], sources i32, places i32,
    busy i32 [experts], their count, the count of choices).

    Choice c is token c // used's; places[c] is its row among those sorted by expert, and
    sources[row] the choice again. The rows of expert busy[n] are starts[n] to before starts[n + 1].
    """
    if thread != 0:
        return
    experts, choices = args[1], i64(args[0])[0] * args[2]
    chosen, starts, sources, places = i32(args[3]), i32(args[4]), i32(args[5]), i32(args[6])
    busy, found = i32(args[7]), 0
    for expert in range(experts + 1):
        starts[expert] = 0
    for choice in range(choices):
        starts[chosen[choice] + 1] += 1
    for expert in range(experts):
        starts[expert + 1] += starts[expert]
    for choice in range(choices):  # starts[e] runs to the end of e's rows, which is e + 1's start
        row = starts[chosen[choice]]
        starts[chosen[choice]] = row + 1
        places[choice], sources[row] = row, choice
    start = 0
    for expert in range(experts):  # starts[e] is now its end; those of the busy ones come first
        end = starts[expert]
        if end > start:
            busy[found], starts[found] = expert, start
            found, start = found + 1, end
    starts[found] = start
    i64(args[8])[0], i64(args[9])[0] = found, choices


@kernel
def gather(args, thread, threads):
    """out[row] = x[token of the row]: (tokens, used, columns, sources, x, stride, out, stride)."""
    used, columns, sources = args[1], args[2], i32(args[3])
    rows = i64(args[0])[0] * used
    for row in range(rows * thread // threads, rows * (thread + 1) // threads):
        x = args[4] + 4 * (sources[row] // used) * args[5]
        _copy(args[6] + 4 * row * args[7], columns, x, 0, 0, np.float32(0))


@kernel
def combine(args, thread, threads):
    """out[token] = its rows by weight: (tokens, used, columns, places, weights, y, stride, out,
    stride)."""
    used, columns = args[1], args[2]
    places, weights = i32(args[3]), f32(args[4])
    tokens = i64(args[0])[0]
    for token in range(tokens * thread // threads, tokens * (thread + 1) // threads):
        out = args[7] + 4 * token * args[8]
        for choice in range(token * used, (token + 1) * used):
            row = args[5] + 4 * places[choice] * args[6]
            if choice == token * used:
                _first(out, columns, row, 0, 0, weights[choice])
            else:
                _more(out, columns, row, out, 0, weights[choice])
