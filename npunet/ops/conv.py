"""Dense convolution: forward, backward, cost; 1-D entry points below."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.ops.accumulate import accumulate, sequential_sum
from npunet.ops.windows import windows
from npunet.ops.winograd import applies, conv2d_winograd

Gradients = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]


def conv2d_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    arithmetic: str = "any",
) -> np.ndarray:
    """Convolve an image with a bank of filters (cross-correlation, as every framework defines it).

    y[n, i, j, f] = b[f] + sum over ky, kx, c of  x[n, i*sy + ky*dy - top, j*sx + kx*dx - left, c] * w[ky, kx, c, f]

    x : (N, H, W, C)      any float dtype
    w : (KH, KW, C, F)    dtype of x
    b : (F,) or None      added last
    pads : ((top, bottom), (left, right)), already resolved by geometry.same_pads_2d
    arithmetic : summation order, see ops.accumulate; "winograd" is another algorithm where ops.winograd applies

    Returns y : (N, OH, OW, F).
    Raises ValueError when C differs between x and w, or the padded input is smaller than the dilated kernel.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, relationship 15.
    """
    _check_channels(x, w)
    taps = windows(x, w.shape[:2], stride, pads, dilation)  # KH x KW views, each (N, OH, OW, C)
    if arithmetic == "winograd" and applies(taps.shape_out[1:], w.shape, stride, dilation):
        return conv2d_winograd(x, w, b, pads=pads)
    y = np.zeros(taps.shape_out + w.shape[3:], x.dtype)  # (N, OH, OW, F)
    for ky, kx in taps:
        y = accumulate(y, taps[ky, kx], w[ky, kx], arithmetic)  # y + x_tap @ w_tap, in the declared order
    return y if b is None else y + b


def conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
) -> Gradients:
    """Gradients of conv2d_forward: dx, dw, db in the order of its arguments (db is None without b).

    dw and db are summed over all positions in float64 and rounded once.
    """
    _check_channels(x, w)
    taps = windows(x, w.shape[:2], stride, pads, dilation)
    dtaps = windows(np.zeros_like(x), w.shape[:2], stride, pads, dilation)
    dy_wide = dy.astype(np.promote_types(x.dtype, np.float64)).reshape(-1, dy.shape[3])  # (P, F)
    dw = np.empty_like(w)
    for ky, kx in taps:
        dw[ky, kx] = taps[ky, kx].reshape(-1, x.shape[3]).T @ dy_wide
        dtaps[ky, kx][...] += np.matmul(dy, w[ky, kx].T)  # each tap hands its share back to where it read
    return dtaps.image, dw, None if b is None else sequential_sum(dy, (0, 1, 2)).astype(b.dtype)


def conv2d_macs(output: tuple[int, ...], w: tuple[int, ...], b: tuple[int, ...] | None = None) -> int:
    """Multiply-accumulates for an output of shape (..., OH, OW, F) and weights of shape w; the bias counts nothing."""
    KH, KW, C, _ = w
    return prod(output) * KH * KW * C


def conv1d_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: int = 1,
    pads: Pair = (0, 0),
    dilation: int = 1,
    arithmetic: str = "any",
) -> np.ndarray:
    """Convolve a signal with a bank of filters: conv2d_forward with H = 1.

    x : (N, L, C);  w : (KW, C, F);  b : (F,) or None;  pads : (before, after).  Returns y : (N, OL, F).
    """
    attrs: dict[str, Any] = {"stride": (1, stride), "pads": ((0, 0), pads), "dilation": (1, dilation)}
    return conv2d_forward(x[:, None], w[None], b, **attrs, arithmetic=arithmetic)[:, 0]


def conv1d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: int = 1,
    pads: Pair = (0, 0),
    dilation: int = 1,
) -> Gradients:
    """Gradients of conv1d_forward: dx, dw, db."""
    attrs: dict[str, Any] = {"stride": (1, stride), "pads": ((0, 0), pads), "dilation": (1, dilation)}
    dx, dw, db = conv2d_backward(dy[:, None], x[:, None], w[None], b, **attrs)
    return dx[:, 0], dw[0], db


def _check_channels(x: np.ndarray, w: np.ndarray) -> None:
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"x {x.shape} and w {w.shape} do not fit: x is (N, H, W, C), w is (KH, KW, C, F), and C is one number"
        )
