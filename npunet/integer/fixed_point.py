"""A real factor as a 32-bit multiplier and a shift, and the roundings with which it is applied.

    scale = m * 2^(s - 31),  2^30 <= m < 2^31

A positive shift goes left, before the product; a negative one right, after it. All shifts are arithmetic, all products
int64. Source: Jacob et al. 2018, arXiv:1712.05877, section 2.2; gemmlowp; TensorFlow Lite, `common.h`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ROUNDINGS = ("D", "S")
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ACCUMULATOR_64 = 2**47  # what requantize_64 takes, either sign


def quantize_multiplier(scale: float) -> tuple[int, int]:
    """(m, s) of a real factor: m = round_half_away(q * 2^31) with (q, s) = frexp(scale).

    A factor below 2^-32 becomes (0, 0). Raises ValueError for a negative or infinite one, or one of 2^31 and more.
    """
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"a factor of {scale!r} cannot be a multiplier; it must be finite and not negative")
    fraction, shift = math.frexp(scale)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ValueError(f"a factor of {scale!r} needs a left shift of {shift}; at most 30 fit in 32 bits")
    return multiplier, shift


def quantize_multipliers(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, s) of each factor, two int32 arrays of one shape."""
    pairs = np.array([quantize_multiplier(float(scale)) for scale in np.ravel(scales)], np.int32).reshape(-1, 2)
    return pairs[:, 0].reshape(np.shape(scales)), pairs[:, 1].reshape(np.shape(scales))


def requantize(x: np.ndarray, multiplier: Any, shift: Any, rounding: str) -> np.ndarray:
    """x * m * 2^(s - 31), rounded as the profile says; l = max(s, 0), r = max(-s, 0).

    D (double rounding)   h = ((x << l) * m + 2^30) >> 31;  mask = 2^r - 1
                          y = (h >> r) + [(h & mask) > (mask >> 1) + (h < 0)]
    S (single rounding)   y = (x * m + 2^(30 - s)) >> (31 - s)

    x                 : int64, any shape, |x << l| < 2^31
    multiplier, shift : int, or int32 arrays that broadcast against x; 0 <= m < 2^31, -31 <= s <= 30

    Returns int64. Source: D is MultiplyByQuantizedMultiplier of TensorFlow Lite and CMSIS-NN's default; S is
    CMSIS-NN with CMSIS_NN_USE_SINGLE_ROUNDING and TOSA's RESCALE with SINGLE_ROUND.
    """
    x, multiplier, shift = (np.asarray(value, np.int64) for value in (x, multiplier, shift))
    if rounding == "S":
        total = 31 - shift
        return (x * multiplier + (np.int64(1) << (total - 1))) >> total
    if rounding != "D":
        raise ValueError(f"rounding={rounding!r} must be one of {', '.join(ROUNDINGS)}")
    high = doubling_high_multiply(x << np.maximum(shift, 0), multiplier)
    return rounding_shift(high, np.maximum(-shift, 0))


def requantize_64(x: np.ndarray, multiplier: Any, shift: Any) -> np.ndarray:
    """x * m * 2^(s - 31) for an accumulator beyond 32 bits, by the multiplier's upper 16 bits; under every profile.

    m' = (m + 2^15) >> 16 for m < 0x7FFF0000, else 0x7FFF;  y = (x * m' + 2^(14 - s)) >> (15 - s)

    x     : int64, |x| < 2^47
    shift : at most 14; TensorFlow Lite's has a meaning up to 7

    Returns int64. Source: MultiplyByQuantizedMultiplier(int64_t, ...) of TensorFlow Lite; arm_nn_requantize_s64.
    """
    x, multiplier, shift = (np.asarray(value, np.int64) for value in (x, multiplier, shift))
    reduced = np.where(multiplier < 0x7FFF0000, (multiplier + 2**15) >> 16, 0x7FFF)
    total = 15 - shift
    return (x * reduced + (np.int64(1) << (total - 1))) >> total


def doubling_high_multiply(a: Any, b: Any) -> np.ndarray:
    """(a * b + 2^30) >> 31: the upper half of twice the product, rounded.

    a, b : int64 arrays or ints of 32-bit values, not both -2^31

    Source: gemmlowp, SaturatingRoundingDoublingHighMul, in the form that needs no sign.
    """
    return (np.asarray(a, np.int64) * np.asarray(b, np.int64) + 2**30) >> 31


def rounding_shift(x: Any, exponent: Any) -> np.ndarray:
    """x / 2^exponent, ties away from zero. Source: gemmlowp, RoundingDivideByPOT."""
    x = np.asarray(x, np.int64)
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))
