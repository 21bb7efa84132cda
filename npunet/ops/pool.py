"""Max and average pooling: forward, backward; 1-D entry points below."""

from __future__ import annotations

from typing import Any

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.ops.windows import Windows, windows


def max_pool2d_forward(x: np.ndarray, *, window: Pair, stride: Pair, pads: Pads = ((0, 0), (0, 0))) -> np.ndarray:
    """Largest value in each window; padding never wins.

    y[n, i, j, c] = max over ky, kx of x[n, i*sy + ky - top, j*sx + kx - left, c]

    x : (N, H, W, C)   any float dtype; complex values are compared by their real parts
    window, stride : (vertical, horizontal)
    pads : ((top, bottom), (left, right)), smaller than the window

    Returns y : (N, OH, OW, C). Nothing is rounded. The first of equal values is taken, so of -0 and +0 the one that
    comes first; a NaN in a window makes its maximum NaN.
    Raises ValueError when a window could lie wholly in the padding, or does not fit in the padded image.
    Source: TensorFlow API, tf.nn.max_pool2d.
    """
    taps = _max_windows(x, window, stride, pads)
    y = taps[0, 0].copy()
    for ky, kx in taps:
        tap = taps[ky, kx]
        np.copyto(y, tap, where=(tap.real > y.real) | np.isnan(tap))
    return y


def max_pool2d_backward(
    dy: np.ndarray, x: np.ndarray, *, window: Pair, stride: Pair, pads: Pads = ((0, 0), (0, 0))
) -> tuple[np.ndarray]:
    """Gradient of max_pool2d_forward: all of it goes to the first maximum in window order, row by row (the first NaN
    where there is one)."""
    taps = _max_windows(x, window, stride, pads)
    dtaps = windows(np.zeros_like(x), window, stride, pads)
    y = max_pool2d_forward(x, window=window, stride=stride, pads=pads)
    inside = windows(np.ones((1, *x.shape[1:3], 1), bool), window, stride, pads)
    free = np.ones(y.shape, bool)  # windows whose maximum has not been met yet
    for ky, kx in taps:
        tap = taps[ky, kx]
        first = free & inside[ky, kx] & ((tap == y) | np.isnan(tap))
        dtaps[ky, kx][...] += np.where(first, dy, 0)
        free &= ~first
    return (dtaps.image,)


def avg_pool2d_forward(x: np.ndarray, *, window: Pair, stride: Pair, pads: Pads = ((0, 0), (0, 0))) -> np.ndarray:
    """Mean of each window; padding is not counted.

    y[n, i, j, c] = (sum over ky, kx of x[n, i*sy + ky - top, j*sx + kx - left, c]) / number of taps inside the image

    x : (N, H, W, C)   any float dtype

    Returns y : (N, OH, OW, C). The sum runs row by row in the dtype of x, then one division, under every arithmetic.
    Raises ValueError when a window could lie wholly in the padding, or does not fit in the padded image.
    Source: TensorFlow API, tf.nn.avg_pool2d.
    """
    _check_pads(window, pads)
    taps = windows(x, window, stride, pads)
    y = np.zeros(taps.shape_out + x.shape[3:], x.dtype)
    for ky, kx in taps:
        y += taps[ky, kx]
    return y / _inside(x, window, stride, pads)


def avg_pool2d_backward(
    dy: np.ndarray, x: np.ndarray, *, window: Pair, stride: Pair, pads: Pads = ((0, 0), (0, 0))
) -> tuple[np.ndarray]:
    """Gradient of avg_pool2d_forward: every tap inside the image gets an equal share."""
    dtaps = windows(np.zeros_like(x), window, stride, pads)
    share = dy / _inside(x, window, stride, pads)
    for ky, kx in dtaps:
        dtaps[ky, kx][...] += share
    return (dtaps.image,)


def max_pool1d_forward(x: np.ndarray, *, window: int, stride: int, pads: Pair = (0, 0)) -> np.ndarray:
    """Largest value in each window of a signal: max_pool2d_forward with H = 1. x : (N, L, C), y : (N, OL, C)."""
    return max_pool2d_forward(x[:, None], window=(1, window), stride=(1, stride), pads=((0, 0), pads))[:, 0]


def max_pool1d_backward(
    dy: np.ndarray, x: np.ndarray, *, window: int, stride: int, pads: Pair = (0, 0)
) -> tuple[np.ndarray]:
    """Gradient of max_pool1d_forward."""
    attrs: dict[str, Any] = {"window": (1, window), "stride": (1, stride), "pads": ((0, 0), pads)}
    (dx,) = max_pool2d_backward(dy[:, None], x[:, None], **attrs)
    return (dx[:, 0],)


def avg_pool1d_forward(x: np.ndarray, *, window: int, stride: int, pads: Pair = (0, 0)) -> np.ndarray:
    """Mean of each window of a signal: avg_pool2d_forward with H = 1. x : (N, L, C), y : (N, OL, C)."""
    return avg_pool2d_forward(x[:, None], window=(1, window), stride=(1, stride), pads=((0, 0), pads))[:, 0]


def avg_pool1d_backward(
    dy: np.ndarray, x: np.ndarray, *, window: int, stride: int, pads: Pair = (0, 0)
) -> tuple[np.ndarray]:
    """Gradient of avg_pool1d_forward."""
    attrs: dict[str, Any] = {"window": (1, window), "stride": (1, stride), "pads": ((0, 0), pads)}
    (dx,) = avg_pool2d_backward(dy[:, None], x[:, None], **attrs)
    return (dx[:, 0],)


def _max_windows(x: np.ndarray, window: Pair, stride: Pair, pads: Pads) -> Windows:
    _check_pads(window, pads)
    return windows(x, window, stride, pads, fill=-np.inf)


def _inside(x: np.ndarray, window: Pair, stride: Pair, pads: Pads) -> np.ndarray:
    """Number of taps inside the image for every output position, (1, OH, OW, 1) in the dtype of x."""
    taps = windows(np.ones((1, *x.shape[1:3], 1), x.dtype), window, stride, pads)
    return np.add.reduce([taps[ky, kx] for ky, kx in taps])


def _check_pads(window: Pair, pads: Pads) -> None:
    for size, pair in zip(window, pads, strict=True):
        if max(pair) >= size:
            raise ValueError(f"a pad of {max(pair)} leaves a window of {size} with nothing inside; pad by less")
