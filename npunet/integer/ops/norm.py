"""Layer norm over height and width in integers: a form of npunet's own, for TensorFlow Lite has none.

What the converter makes of a layer norm is ten operators with a float one among them, on which runtimes differ by tens
of steps. Here one operator sums in whole numbers, takes one integer square root a channel and requantises once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npunet.integer.fixed_point import ACCUMULATOR_64, quantize_multiplier, requantize_64, rounding_shift

FRACTION_BITS = {"int8": 16, "int16": 20}  # of the normalised value
LARGEST_DEVIATION = 2**32  # |d| and sqrt(v) stay below, so that d * r fits in 64 bits


def layer_norm(x: np.ndarray, *, gamma: np.ndarray, beta: np.ndarray, epsilon: int, fraction_bits: int,
               multiplier: int, shift: int, output_offset: int, act_min: int, act_max: int) -> np.ndarray:
    """Normalise every channel of every sample over its n = H * W positions.

    S = sum of x;  d = n * x - S;  v = n * sum of x^2 - S^2 + epsilon        (n^2 times the variance, so to speak)
    j = (62 - bits of v) >> 1;  r = floor(2^61 / floor(sqrt(v << 2j)))       so that r * 2^(j - 61) is 1 / sqrt(v)
    h = rounding_shift(d * r, 61 - j - fraction_bits)                        the normalised value
    y = clamp(requantize_64(h * gamma + beta, multiplier, shift) + output_offset)

    x : (N, H, W, C)       int64, values of int8 or int16; its zero point cancels
    gamma, beta : (H, W)   int16, in units of its largest value / 32767; int64, in units of gamma's / 2^fraction_bits
    epsilon                n^2 * eps / s_in^2, at least 1

    Returns y : (N, H, W, C) int64. Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450, equation 3, scaled by n.
    """
    H, W = gamma.shape
    n = H * W
    total = x.sum((1, 2), keepdims=True)
    d = n * x - total
    v = n * (x * x).sum((1, 2), keepdims=True) - total * total + epsilon                    # (N, 1, 1, C)
    j = (62 - bit_length_64(v)) >> 1
    r = np.int64(2**61) // integer_sqrt(v << (2 * j))
    h = rounding_shift(d * r, 61 - j - fraction_bits)
    acc = h * gamma.astype(np.int64)[:, :, None] + beta[:, :, None]
    return np.clip(requantize_64(acc, multiplier, shift) + output_offset, act_min, act_max)


def layer_norm_parameters(gamma: np.ndarray, beta: np.ndarray, eps: float, input_scale: float, output_scale: float,
                          dtype: str) -> tuple[dict[str, int], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(attrs, arrays, scales) of layer_norm from the float parameters gamma, beta (H, W) and the tensors' scales.

    Raises ValueError for more positions, or a larger beta, than the 64 bits of the sums hold.
    """
    n, fraction = gamma.size, FRACTION_BITS[dtype]
    if n * 2 ** (8 if dtype == "int8" else 16) > LARGEST_DEVIATION:
        raise ValueError(f"layer norm over {n:,} positions of {dtype} leaves 64 bits; use batch norm, or smaller "
                         "windows")
    scale = float(np.float32(max(float(np.abs(gamma).max()), 1e-6) / 32767))
    unit = scale / 2**fraction
    attrs = {"epsilon": max(1, round(n * n * eps / input_scale**2)), "fraction_bits": fraction}
    attrs["multiplier"], attrs["shift"] = quantize_multiplier(unit / output_scale)
    whole = np.rint(beta.astype(np.float64) / unit)
    if np.abs(whole).max() + math.isqrt(n) * 2.0 ** (fraction + 15) >= ACCUMULATOR_64:
        raise ValueError(f"layer norm's beta reaches {np.abs(beta).max():g}, {np.abs(whole).max():g} of its units, "
                         "which leaves 48 bits; use batch norm")
    arrays = {"gamma": np.rint(gamma.astype(np.float64) / scale).astype(np.int16), "beta": whole.astype(np.int64)}
    scales: dict[str, Any] = {"gamma": np.array([scale], np.float32), "beta": np.array([unit], np.float32)}
    return attrs, arrays, scales


def integer_sqrt(v: np.ndarray) -> np.ndarray:
    """floor(sqrt(v)) of int64 below 2^62, exactly."""
    root = np.sqrt(v.astype(np.float64)).astype(np.int64)
    root -= root * root > v
    return root + ((root + 1) * (root + 1) <= v)


def bit_length_64(v: np.ndarray) -> np.ndarray:
    """Bits of positive int64: floor(log2 v) + 1, exactly."""
    bits = np.frexp(v.astype(np.float64))[1].astype(np.int64)
    return bits - ((np.int64(1) << (bits - 1)) > v)  # where float64 rounded up to the next power of two
