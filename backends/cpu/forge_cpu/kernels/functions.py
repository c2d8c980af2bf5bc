"""exp, tanh and erf in float32, within 2e-7 of the true value, NaN and infinity kept.

The method is the usual one (Cody and Waite 1980, Cephes): reduce the argument exactly, then a short
polynomial. The coefficients for exp and erf are Chebyshev fits made for this file; those for tanh
are Cephes' (tanhf.c). Everything is free of branches, so a vector of numbers takes one way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from forge_cpu.kernels.lanes import Number, constant

_ROUNDING = 1.5 * 2.0**23
"""Added to a small float32 it leaves the nearest integer in the lowest bits."""
_ROUNDING_BITS = 0x4B400000
_LN2_HIGH, _LN2_LOW = 355 / 512, -2.12194440e-4
"""ln 2 in two parts, the first exact in 9 bits: its multiples have no rounding error."""
_EXP = (0.5, 0.16666576266288757, 0.04166646674275398, 0.008363179862499237, 0.0013933652080595493)
"""(e^r - 1 - r) / r^2 on |r| <= ln(2) / 2."""
_EXP_LEAST, _EXP_MOST = -104.0, 89.0
"""Beyond them exp is 0 or infinite in float32."""
_EXP_NORMAL = -87.0
"""Down to here it is a normal number."""

_TANH = (
    -3.33332819422e-1,
    1.33314422036e-1,
    -5.37397155531e-2,
    2.06390887954e-2,
    -5.70498872745e-3,
)
"""(tanh(x) - x) / x^3 by x^2, on |x| < 0.625."""
_ERF = (
    0.1283792257308960,
    -0.37612634897232056,
    0.11283718794584274,
    -0.026860708370804787,
    0.00520433159545064,
    -0.0008180781151168048,
    8.534120570402592e-05,
)
"""erf(x) / x - 1 by x^2, on |x| < 0.9."""
_LOG_ERFC = (
    0.00022814361727796495,
    -1.129807472229004,
    -0.6326639652252197,
    -0.10916721075773239,
    0.02581973373889923,
    -0.004514588043093681,
    0.0005365810357034206,
    -3.789343099924736e-05,
    1.169494112218672e-06,
)
"""ln(1 - erf(x)) on 0.9 <= x <= 4, where erf reaches 1 in float32."""


def polynomial(x: Number, coefficients: Sequence[float]) -> Number:
    """By Horner's rule, the constant term first."""
    *lower, last = coefficients
    result = x.times_plus(last, lower[-1])
    for coefficient in reversed(lower[:-1]):
        result = result.times_plus(x, coefficient)
    return result


def exp(x: Number) -> Number:
    """e to the x; 2^n is applied in two halves, so that results may be subnormal."""
    series, n = _reduced_exp(x.at_least(_EXP_LEAST).at_most(_EXP_MOST))
    half = x.builder.ashr(n, _all(n.type, 1))
    return series * _power(x, half) * _power(x, x.builder.sub(n, half))


def exp_of_negative(x: Number) -> Number:
    """e to an x of at most 0, which is 0 where it would be subnormal: for a softmax."""
    series, n = _reduced_exp(x.at_least(_EXP_NORMAL))
    return Number(x.builder, constant(x.value.type, 0.0)).where(
        x.below(_EXP_NORMAL), series * _power(x, n)
    )


def _reduced_exp(x: Number) -> tuple[Number, ir.Value]:
    """e^r and n where x = r + n ln 2 and n is an integer."""
    shifted = x.times_plus(1 / math.log(2), _ROUNDING)
    whole = shifted - _ROUNDING
    rest = whole.times_plus(-_LN2_LOW, whole.times_plus(-_LN2_HIGH, x))
    series = polynomial(rest, _EXP).times_plus(rest * rest, rest) + 1.0
    bits = shifted.bits()
    return series, x.builder.sub(bits, _all(bits.type, _ROUNDING_BITS))


def tanh(x: Number) -> Number:
    """The hyperbolic tangent."""
    magnitude = x.magnitude()
    square = x * x
    near = (polynomial(square, _TANH) * square).times_plus(x, x)
    far = 1.0 - 2.0 / (exp(magnitude + magnitude) + 1.0)
    return near.where(magnitude.below(0.625), far).with_sign_of(x)


def erf(x: Number) -> Number:
    """The error function."""
    magnitude = x.magnitude()
    near = polynomial(x * x, _ERF).times_plus(x, x)
    far = 1.0 - exp(polynomial(magnitude.at_most(4.0), _LOG_ERFC))
    return near.where(magnitude.below(0.9), far).with_sign_of(x)


def silu(x: Number) -> Number:
    """x times its logistic sigmoid."""
    return x / (exp(-x) + 1.0)


def gelu_tanh(x: Number) -> Number:
    """x (1 + tanh u) / 2 as x times the sigmoid of 2u, which loses nothing to cancellation."""
    cubic = (x * x).times_plus(0.044715, 1.0) * x
    return x / (exp(cubic * (-2 * math.sqrt(2 / math.pi))) + 1.0)


def gelu_quick(x: Number) -> Number:
    """x times the sigmoid of 1.702 x."""
    return x / (exp(x * -1.702) + 1.0)


def gelu_exact(x: Number) -> Number:
    """x times the normal distribution at x."""
    return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1.0)


def _power(x: Number, exponent: ir.Value) -> Number:
    """2 to an integer from -126 to 127."""
    builder, kind = x.builder, exponent.type
    biased = builder.shl(builder.add(exponent, _all(kind, 127)), _all(kind, 23))
    return Number(builder, builder.bitcast(biased, x.value.type))


def _all(kind: ir.Type, value: int) -> ir.Constant:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


def of_one(function: Callable[[Number], Number]) -> Any:
    """The function as a numba intrinsic from float32 to float32."""

    @intrinsic
    def apply(typing: Any, x: Any) -> Any:
        del typing

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            del context, signature
            return function(Number(builder, args[0])).value

        return types.float32(types.float32), generate

    return apply
