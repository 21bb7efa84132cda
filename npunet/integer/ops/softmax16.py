"""Softmax of 16-bit integers by two tables of 513 entries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npunet.integer.fixed_point import quantize_multiplier, requantize
from npunet.integer.ops.softmax import bit_length
from npunet.integer.ops.table import table as look_up
from npunet.integer.ops.table import table_16

OUTPUT_SCALE = 1 / 32768


def softmax16_parameters(input_scale: float) -> dict[str, int]:
    """multiplier and shift of softmax16: those of input_scale / (10 / 65535)."""
    multiplier, shift = quantize_multiplier(input_scale / (10.0 / 65535.0))
    return {"multiplier": multiplier, "shift": shift}


def softmax16_tables(lut: str) -> dict[str, np.ndarray]:
    """exp over [-10, 0] and 1 / (1 + x) over [0, 1], each (513,) int16 in units of 2^-15.

    lut : "f32" or "f64"; a few entries differ by one between the two
    """
    real: Any = np.float32 if lut == "f32" else float
    factor = 65536 / real(real(32767) * real(2 / 65535) - real(-32768) * real(2 / 65535))
    exp = table_16(math.exp, real(10 / 65535) * real(-65535), 0.0, factor, real)
    reciprocal = table_16(lambda x: 1 / (1 + x), 0.0, real(1 / 65535) * real(65535), factor, real)
    return {"exp_table": exp, "reciprocal_table": reciprocal}


def softmax16(x: np.ndarray, *, multiplier: int, shift: int, exp_table: np.ndarray, reciprocal_table: np.ndarray,
              rounding: str) -> np.ndarray:
    """Probabilities over the last axis, scale 1/32768 and zero point 0.

    e = exp_table at clamp(requantize(x - max, multiplier, shift) + 32767), in Q0.15;  t = sum of e
    r = reciprocal_table at the 16 bits below the leading one of t, recentred
    y = clamp((e * r + 2^(30 - z)) >> (31 - z), 0, 32767) with z leading zeros of t

    x : (..., K) int64, values of int16, K < 2^16

    Returns y : (..., K) int64. Source: TensorFlow Lite, `reference_ops::SoftmaxInt16`.
    """
    scaled = requantize(x - x.max(-1, keepdims=True), multiplier, shift, rounding)
    e = look_up(np.clip(scaled + 32767, -32768, 32767), table=exp_table)
    total = e.sum(-1, keepdims=True)                                                        # Q16.15
    zeros = 32 - bit_length(total)
    leading = ((total << (zeros - 1)) + 2**13) >> 14                                        # 2^16 ... 2^17
    r = look_up(np.clip(leading - 2**15 - 2**16, -32768, 32767), table=reciprocal_table)
    right = 31 - zeros
    return np.clip((e * r + (np.int64(1) << (right - 1))) >> right, 0, 32767)
