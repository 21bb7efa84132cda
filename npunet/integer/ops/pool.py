"""Integer pooling. Input and output have one scale and zero point."""

from __future__ import annotations

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.integer.fixed_point import INT32_MIN
from npunet.ops.windows import windows


def max_pool2d(x: np.ndarray, *, window: Pair, stride: Pair, pads: Pads, act_min: int, act_max: int) -> np.ndarray:
    """Largest value of the taps inside the image, clamped.

    x : (N, H, W, C) int64

    Returns y : (N, OH, OW, C) int64.
    Source: TensorFlow Lite, `reference_integer_ops::MaxPool`.
    """
    taps = windows(x, window, stride, pads, fill=INT32_MIN)
    y = taps[0, 0].copy()
    for ky, kx in taps:
        np.maximum(y, taps[ky, kx], out=y)
    return np.clip(y, act_min, act_max)


def avg_pool2d(x: np.ndarray, *, window: Pair, stride: Pair, pads: Pads, act_min: int, act_max: int) -> np.ndarray:
    """Mean of the taps inside the image, rounded half away from zero, clamped.

    y = (sum + count / 2) / count for a positive sum, (sum - count / 2) / count otherwise, divisions towards zero

    x : (N, H, W, C) int64

    Returns y : (N, OH, OW, C) int64.
    Source: TensorFlow Lite, `reference_integer_ops::AveragePool`.
    """
    taps = windows(x, window, stride, pads)
    inside = windows(np.ones((1, *x.shape[1:3], 1), np.int64), window, stride, pads)
    total = np.zeros((*taps.shape_out, x.shape[3]), np.int64)
    count = np.zeros((1, *taps.shape_out[1:], 1), np.int64)
    for ky, kx in taps:
        total += taps[ky, kx]
        count += inside[ky, kx]
    magnitude = (np.abs(total) + count // 2) // count
    return np.clip(np.sign(total) * magnitude, act_min, act_max)
