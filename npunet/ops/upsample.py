"""Nearest-neighbour upsampling by integer factors, and its 1-D entry point."""

from __future__ import annotations

import numpy as np

from npunet.geometry import Pair


def upsample_nearest2d_forward(x: np.ndarray, *, factor: Pair) -> np.ndarray:
    """Repeat every position fy times down and fx times across.

    y[n, i, j, c] = x[n, i div fy, j div fx, c]

    x : (N, H, W, C)   any dtype
    factor : (fy, fx), at least 1

    Returns y : (N, H*fy, W*fx, C). Nothing is rounded.
    Source: TensorFlow API, RESIZE_NEAREST_NEIGHBOR for integer factors.
    """
    N, H, W, C = x.shape
    fy, fx = factor
    cells = np.broadcast_to(x[:, :, None, :, None], (N, H, fy, W, fx, C))
    return cells.reshape(N, H * fy, W * fx, C)


def upsample_nearest2d_backward(dy: np.ndarray, x: np.ndarray, *, factor: Pair) -> tuple[np.ndarray]:
    """Gradient of upsample_nearest2d_forward: every position collects its fy x fx copies, row by row."""
    fy, fx = factor
    dx = np.zeros_like(x)
    for ky, kx in np.ndindex(fy, fx):
        dx += dy[:, ky::fy, kx::fx]
    return (dx,)


def upsample_nearest1d_forward(x: np.ndarray, *, factor: int) -> np.ndarray:
    """Repeat every sample of a signal: upsample_nearest2d_forward with H = 1. x : (N, L, C), y : (N, L*factor, C)."""
    return upsample_nearest2d_forward(x[:, None], factor=(1, factor))[:, 0]


def upsample_nearest1d_backward(dy: np.ndarray, x: np.ndarray, *, factor: int) -> tuple[np.ndarray]:
    """Gradient of upsample_nearest1d_forward."""
    (dx,) = upsample_nearest2d_backward(dy[:, None], x[:, None], factor=(1, factor))
    return (dx[:, 0],)
