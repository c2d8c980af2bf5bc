"""Root mean square and layer norms, of rows or of the heads in them, after a residual sum if asked.

Arguments: tokens, runs of a row, size of a run, epsilon; x, out and their strides; the weight and
the bias [size], 0 for none; then the residual with its stride, 0 for none, and where x + residual
goes (which may be x, or the residual) with its stride.
"""

from __future__ import annotations

import math

import numpy as np

from forge_cpu.kernels.kernel import Function, kernel
from forge_cpu.kernels.loops import each, sum_of
from forge_cpu.kernels.pointers import float_of, i64

(
    _TOKENS, _RUNS, _SIZE, _EPSILON, _X, _X_STRIDE, _OUT, _OUT_STRIDE, _WEIGHT, _BIAS,
    _RESIDUAL, _RESIDUAL_STRIDE, _SUM, _SUM_STRIDE,
) = range(14)  # fmt: skip

_squares = sum_of(lambda x, _: x * x)
_sum = sum_of(lambda x, _: x)
_spread = sum_of(lambda x, mean: (x - mean) * (x - mean))
_plus = each(lambda a, b, _: a + b, 2)
_minus = each(lambda x, mean: x - mean, 1)
_scaled = each(lambda x, scale: x * scale, 1)
_weighted = each(lambda x, weight, scale: x * scale * weight, 2)
_shifted = each(lambda x, bias, _: x + bias, 2)


def _norm(centred: bool) -> Function:
    """The kernel; `centred` takes the mean away first."""

    def run(args, thread, threads):
        runs, size = args[_RUNS], args[_SIZE]
        tasks = i64(args[_TOKENS])[0] * runs
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            token, start = task // runs, task % runs * size
            x = args[_X] + 4 * (token * args[_X_STRIDE] + start)
            out = args[_OUT] + 4 * (token * args[_OUT_STRIDE] + start)
            if args[_RESIDUAL] != 0:
                residual = args[_RESIDUAL] + 4 * (token * args[_RESIDUAL_STRIDE] + start)
                whole = args[_SUM] + 4 * (token * args[_SUM_STRIDE] + start)
                _plus(whole, size, x, residual, 0, np.float32(0))
                x = whole
            if centred:
                mean = _sum(x, size, np.float32(0)) / np.float32(size)
                squares = _spread(x, size, mean)
                _minus(out, size, x, 0, 0, mean)
                x = out
            else:
                squares = _squares(x, size, np.float32(0))
            epsilon = np.float32(float_of(args[_EPSILON]))
            scale = np.float32(1) / math.sqrt(squares / np.float32(size) + epsilon)
            if args[_WEIGHT] != 0:
                _weighted(out, size, x, args[_WEIGHT], 0, scale)
            else:
                _scaled(out, size, x, 0, 0, scale)
            if args[_BIAS] != 0:
                _shifted(out, size, out, args[_BIAS], 0, np.float32(0))

    return run


rms_norm = kernel(_norm(centred=False))
layer_norm = kernel(_norm(centred=True))
