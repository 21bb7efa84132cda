"""From one scale and zero point to another (TensorFlow Lite's QUANTIZE between integers)."""

from __future__ import annotations

import numpy as np

from npunet.integer.fixed_point import requantize as apply_factor


def rescale(x: np.ndarray, *, input_offset: int, output_offset: int, multiplier: int, shift: int, act_min: int,
            act_max: int, rounding: str) -> np.ndarray:
    """y = clamp(requantize(x + input_offset, multiplier, shift) + output_offset, act_min, act_max).

    x : any shape, int64
    multiplier, shift : of the input's scale / the output's

    Returns y : int64. Source: TensorFlow Lite, `reference_ops::Requantize`.
    """
    return np.clip(apply_factor(x + input_offset, multiplier, shift, rounding) + output_offset, act_min, act_max)
