"""Softmax of 8-bit integers: exponential and reciprocal in fixed point, no table and no division.

Qa.b below is a 32-bit value with a bits before the point: value = raw * 2^(a - 31).
Source: gemmlowp, `fixedpoint.h`; TensorFlow Lite, `reference_ops::Softmax` for quantised types.
"""

from __future__ import annotations

import math

import numpy as np

from npunet.integer.fixed_point import INT32_MAX, INT32_MIN, doubling_high_multiply, quantize_multiplier, rounding_shift

OUTPUT_SCALE, OUTPUT_ZERO_POINT = 1 / 256, -128
DIFFERENCE_BITS, SUM_BITS = 5, 12  # bits before the point of x - max, and of the sum of exponentials
EXP_EIGHTH, THIRD = 1895147668, 715827883  # exp(-1/8) and 1/3 in Q0.31
EXP_FACTORS = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401),
               (4, 242))  # exp(-2^k) in Q0.31 by k
FORTY_EIGHT_17THS, THIRTY_TWO_17THS = 1515870810, 1010580540  # 48/17 and 32/17 in Q2.29


def softmax_parameters(input_scale: float) -> dict[str, int]:
    """multiplier, left_shift and diff_min of softmax for a scale of its input.

    (m, s) of min(scale * 2^26, 2^31 - 1);  diff_min = -floor(31 * 2^26 / 2^s): what lies further below the maximum
    counts as nothing
    """
    multiplier, left_shift = quantize_multiplier(min(input_scale * 2.0**26, 2.0**31 - 1))
    if left_shift < 0:
        raise ValueError(f"a softmax over integers of scale {input_scale:g} has no 32-bit form: the scale must be at "
                         "least 2^-27; calibrate with larger logits")
    diff_min = -math.floor(31.0 * 2.0**26 / 2.0**left_shift)
    return {"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min}


def softmax(x: np.ndarray, *, multiplier: int, left_shift: int, diff_min: int) -> np.ndarray:
    """Probabilities over the last axis, scale 1/256 and zero point -128.

    d = x - max(x);  e = exp(((d << left_shift) * m + 2^30) >> 31 in Q5.26) in Q0.31, for d >= diff_min
    y = clamp(rounding_shift(e * (1 / sum of e), ...) - 128), -128 where d < diff_min

    x : (..., K) int64, values of int8, K < 2^12

    Returns y : (..., K) int64.
    """
    d = x - x.max(-1, keepdims=True)
    near = d >= diff_min
    e = exp_on_negative(doubling_high_multiply(np.where(near, d, 0) << left_shift, multiplier))
    total = np.where(near, rounding_shift(e, SUM_BITS), 0).sum(-1, keepdims=True)           # Q12.19
    headroom = 32 - bit_length(total)                                                       # leading zeros
    reciprocal = one_over_one_plus((total << headroom) - 2**31)
    y = rounding_shift(doubling_high_multiply(reciprocal, e), SUM_BITS - headroom + 31 - 8) + OUTPUT_ZERO_POINT
    return np.where(near, np.clip(y, -128, 127), -128)


def exp_on_negative(a: np.ndarray) -> np.ndarray:
    """exp(a) for a <= 0 in Q5.26, in Q0.31.

    a = -r + f with -1/4 <= f < 0 and r a multiple of 1/4: exp(f) by its series, then one factor a bit of r.
    """
    quarter = 1 << 24
    fraction = (a & (quarter - 1)) - quarter
    result = _exp_of_quarter(fraction << DIFFERENCE_BITS)
    rest = fraction - a
    for power, factor in EXP_FACTORS:
        result = np.where(rest & (1 << (26 + power)), doubling_high_multiply(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _exp_of_quarter(a: np.ndarray) -> np.ndarray:
    """exp(a) for -1/4 <= a < 0, both in Q0.31: four terms of the series around -1/8."""
    x = a + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3, x4 = doubling_high_multiply(x2, x), doubling_high_multiply(x2, x2)
    tail = rounding_shift(doubling_high_multiply(rounding_shift(x4, 2) + x3, THIRD) + x2, 1)
    return np.minimum(EXP_EIGHTH + doubling_high_multiply(EXP_EIGHTH, x + tail), INT32_MAX)


def one_over_one_plus(a: np.ndarray, steps: int = 3) -> np.ndarray:
    """1 / (1 + a) for 0 <= a < 1, both in Q0.31: Newton steps, three of them, for the reciprocal of (1 + a) / 2."""
    half = (a + INT32_MAX + 1) >> 1
    x = FORTY_EIGHT_17THS - doubling_high_multiply(half, THIRTY_TWO_17THS)                  # Q2.29
    for _ in range(steps):
        error = (1 << 29) - doubling_high_multiply(half, x)
        x = x + _saturating_shift(doubling_high_multiply(x, error), 2)
    return _saturating_shift(x, 1)


def _saturating_shift(x: np.ndarray, exponent: int) -> np.ndarray:
    return np.clip(x << exponent, INT32_MIN, INT32_MAX)


def bit_length(x: np.ndarray) -> np.ndarray:
    """Bits of positive integers below 2^53."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)
