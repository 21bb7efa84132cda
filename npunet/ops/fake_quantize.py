"""Fake quantisation: real numbers that an integer type can hold, with a gradient that passes straight through."""

from __future__ import annotations

import numpy as np


def fake_quantize_forward(x: np.ndarray, *, scale: float | np.ndarray, zero_point: int, low: int,
                          high: int) -> np.ndarray:
    """Round to the integers of a type and back.

    q = clip(round_half_away(fl(x / scale)) + zero_point, low, high);  y = fl(scale * (q - zero_point))

    x          : (..., C)     any float dtype; of a complex one the real part
    scale      : positive, one number or (C,), rounded to x's dtype
    zero_point : within low ... high, the ends of the integer type

    Returns y of x's shape and dtype.
    Source: Jacob et al. 2018, arXiv:1712.05877, equation 12; TensorFlow Lite, `AffineQuantize`, for the rounding.
    """
    steps, step = _steps(x, scale)
    return (step * (np.clip(steps, low - zero_point, high - zero_point))).astype(x.dtype)


def fake_quantize_backward(dy: np.ndarray, x: np.ndarray, *, scale: float | np.ndarray, zero_point: int, low: int,
                           high: int) -> tuple[np.ndarray]:
    """The straight-through estimate: dx = dy where x is rounded to an integer of the type, 0 where it is clipped.

    Source: Bengio et al. 2013, arXiv:1308.3432, section 4; Krishnamoorthi 2018, arXiv:1806.08342, section 2.4.
    """
    steps, _ = _steps(x, scale)
    return (dy * ((steps >= low - zero_point) & (steps <= high - zero_point)),)


def _steps(x: np.ndarray, scale: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """round_half_away(x / scale), float64, and the scale in x's dtype."""
    step = np.asarray(scale, x.real.dtype)
    steps = (x.real / step).astype(np.float64)
    return np.copysign(np.floor(np.abs(steps) + 0.5), steps), step
