"""Depthwise and separable convolution: forward, backward, cost; a 1-D entry point below."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.ops.accumulate import accumulate_depthwise, sequential_sum
from npunet.ops.conv import Gradients, conv2d_backward, conv2d_forward
from npunet.ops.windows import windows


def depthwise_conv2d_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    arithmetic: str = "any",
) -> np.ndarray:
    """Convolve every channel on its own, with M filters each.

    y[n, i, j, c*M + m] = b[c*M + m] + sum over ky, kx of
                          x[n, i*sy + ky*dy - top, j*sx + kx*dx - left, c] * w[ky, kx, c, m]

    x : (N, H, W, C)      any float dtype
    w : (KH, KW, C, M)    dtype of x
    b : (C*M,) or None    added last
    pads : ((top, bottom), (left, right)), already resolved by geometry.same_pads_2d
    arithmetic : summation order, see ops.accumulate

    Returns y : (N, OH, OW, C*M).
    Raises ValueError when C differs between x and w, or the padded input is smaller than the dilated kernel.
    Source: Chollet 2017, arXiv:1610.02357, section 2.
    """
    _check_channels(x, w)
    taps = windows(x, w.shape[:2], stride, pads, dilation)  # KH x KW views, each (N, OH, OW, C)
    y = np.zeros(taps.shape_out + w.shape[2:], x.dtype)  # (N, OH, OW, C, M)
    for ky, kx in taps:
        y = accumulate_depthwise(y, taps[ky, kx], w[ky, kx], arithmetic)
    y = y.reshape(*taps.shape_out, -1)  # (N, OH, OW, C*M)
    return y if b is None else y + b


def depthwise_conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
) -> Gradients:
    """Gradients of depthwise_conv2d_forward: dx, dw, db. dw and db are summed in float64 and rounded once."""
    _check_channels(x, w)
    wide = np.promote_types(x.dtype, np.float64)
    taps = windows(x, w.shape[:2], stride, pads, dilation)
    dtaps = windows(np.zeros_like(x), w.shape[:2], stride, pads, dilation)
    dy_by_channel = dy.reshape(*taps.shape_out, *w.shape[2:])  # (N, OH, OW, C, M)
    dw = np.empty_like(w)
    for ky, kx in taps:
        products = np.multiply(taps[ky, kx][..., None], dy_by_channel, dtype=wide)
        dw[ky, kx] = products.sum((0, 1, 2))
        dtaps[ky, kx][...] += (dy_by_channel * w[ky, kx]).sum(-1)  # each tap hands its share back to where it read
    return dtaps.image, dw, None if b is None else sequential_sum(dy, (0, 1, 2)).astype(b.dtype)


def depthwise_conv2d_macs(output: tuple[int, ...], w: tuple[int, ...], b: tuple[int, ...] | None = None) -> int:
    """Multiply-accumulates for an output of shape (..., OH, OW, C*M) and weights of shape w."""
    return prod(output) * w[0] * w[1]


def depthwise_conv1d_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: int = 1,
    pads: Pair = (0, 0),
    dilation: int = 1,
    arithmetic: str = "any",
) -> np.ndarray:
    """Convolve every channel of a signal on its own: depthwise_conv2d_forward with H = 1.

    x : (N, L, C);  w : (KW, C, M);  b : (C*M,) or None;  pads : (before, after).  Returns y : (N, OL, C*M).
    """
    attrs: dict[str, Any] = {"stride": (1, stride), "pads": ((0, 0), pads), "dilation": (1, dilation)}
    return depthwise_conv2d_forward(x[:, None], w[None], b, **attrs, arithmetic=arithmetic)[:, 0]


def depthwise_conv1d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: int = 1,
    pads: Pair = (0, 0),
    dilation: int = 1,
) -> Gradients:
    """Gradients of depthwise_conv1d_forward: dx, dw, db."""
    attrs: dict[str, Any] = {"stride": (1, stride), "pads": ((0, 0), pads), "dilation": (1, dilation)}
    dx, dw, db = depthwise_conv2d_backward(dy[:, None], x[:, None], w[None], b, **attrs)
    return dx[:, 0], dw[0], db


def separable_conv2d_forward(
    x: np.ndarray,
    depthwise_kernel: np.ndarray,
    pointwise_kernel: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    arithmetic: str = "any",
) -> np.ndarray:
    """Convolve every channel on its own, then mix the channels at each position; nothing lies between.

    y = conv2d(depthwise_conv2d(x, depthwise_kernel; stride, pads, dilation), pointwise_kernel, bias)

    x : (N, H, W, C)                      any float dtype
    depthwise_kernel : (KH, KW, C, M)     dtype of x
    pointwise_kernel : (1, 1, C*M, F)     dtype of x
    bias : (F,) or None                   added last

    Returns y : (N, OH, OW, F).
    Raises ValueError when the channels do not fit, or the padded input is smaller than the dilated kernel.
    Source: Chollet 2017, arXiv:1610.02357, section 2.
    """
    attrs: dict[str, Any] = {"stride": stride, "pads": pads, "dilation": dilation}
    h = depthwise_conv2d_forward(x, depthwise_kernel, **attrs, arithmetic=arithmetic)  # (N, OH, OW, C*M)
    return conv2d_forward(h, pointwise_kernel, bias, arithmetic=arithmetic)


def separable_conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    depthwise_kernel: np.ndarray,
    pointwise_kernel: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Gradients of separable_conv2d_forward: dx, d(depthwise kernel), d(pointwise kernel), d(bias)."""
    attrs: dict[str, Any] = {"stride": stride, "pads": pads, "dilation": dilation}
    h = depthwise_conv2d_forward(x, depthwise_kernel, **attrs)
    dh, dpointwise, dbias = conv2d_backward(dy, h, pointwise_kernel, bias)
    dx, ddepthwise, _ = depthwise_conv2d_backward(dh, x, depthwise_kernel, **attrs)
    return dx, ddepthwise, dpointwise, dbias


def separable_conv2d_macs(
    output: tuple[int, ...], depthwise: tuple[int, ...], pointwise: tuple[int, ...], b: tuple[int, ...] | None = None
) -> int:
    """Multiply-accumulates for an output of shape (..., OH, OW, F): KH*KW a depthwise channel, then C*M a filter."""
    KH, KW, C, M = depthwise
    return prod(output[:-1]) * (KH * KW * C * M + C * M * pointwise[3])


def _check_channels(x: np.ndarray, w: np.ndarray) -> None:
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"x {x.shape} and w {w.shape} do not fit: x is (N, H, W, C), w is (KH, KW, C, M), and C is one number"
        )
