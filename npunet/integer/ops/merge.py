"""Integer addition and concatenation."""

from __future__ import annotations

import numpy as np

from npunet.integer.fixed_point import requantize


def add(a: np.ndarray, b: np.ndarray, *, left_shift: int, input1_offset: int, input1_multiplier: int,
        input1_shift: int, input2_offset: int, input2_multiplier: int, input2_shift: int, output_offset: int,
        output_multiplier: int, output_shift: int, act_min: int, act_max: int, rounding: str) -> np.ndarray:
    """Sum of two tensors of one shape whose scales differ.

    a' = requantize((a + input1_offset) << left_shift, input1_multiplier, input1_shift), b' likewise
    y  = clamp(requantize(a' + b', output_multiplier, output_shift) + output_offset, act_min, act_max)

    a, b : (N, H, W, C) int64
    left_shift : 20 for int8, 15 for int16. With T = 2 * max(s1, s2) the three factors are s1 / T, s2 / T and
                 T / (2^left_shift * s_out), so that the first two are at most 1/2 and nothing leaves 32 bits

    Returns y : (N, H, W, C) int64.
    Source: TensorFlow Lite, `reference_integer_ops::Add`.
    """
    first = requantize((a + input1_offset) << left_shift, input1_multiplier, input1_shift, rounding)
    second = requantize((b + input2_offset) << left_shift, input2_multiplier, input2_shift, rounding)
    total = requantize(first + second, output_multiplier, output_shift, rounding)
    return np.clip(total + output_offset, act_min, act_max)


def concat(*xs: np.ndarray) -> np.ndarray:
    """Channels one after another. xs : (N, H, W, C_i) int64, all of one scale and zero point, which y keeps."""
    return np.concatenate(xs, axis=-1)
