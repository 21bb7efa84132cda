"""How far a float32 result may lie from the exact one, whatever the order of summation."""

from __future__ import annotations

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.ops.conv import conv2d_forward
from npunet.ops.depthwise import depthwise_conv2d_forward

UNIT = 2.0**-24  # unit roundoff of float32
SUBNORMAL = 2.0**-150  # largest error of one operation whose result is subnormal; 2^-126 where these are flushed to 0


def gamma(n: int) -> float:
    """Relative error bound of n roundings in a row: n*u / (1 - n*u), u = 2^-24.

    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, lemma 3.1.
    """
    return n * UNIT / (1 - n * UNIT)


def conv2d_bound(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    subnormal: float = SUBNORMAL,
) -> np.ndarray:
    """Bound on |computed - exact| for every element of conv2d_forward in float32, in any order, fused or not.

    bound = gamma(roundings) * (sum |x| |w| + |b|) + 2 * roundings * subnormal

    A term passes through at most K = KH*KW*C roundings (its product and K - 1 additions, or K fused multiply-adds),
    and one more for the bias. Two computed results differ by at most twice the bound.

    Arguments as conv2d_forward's; subnormal : 2^-150, or 2^-126 for a port that flushes subnormals to zero
    Returns (N, OH, OW, F), float64.
    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    sizes = conv2d_forward(*_magnitudes(x, w, b), stride=stride, pads=pads, dilation=dilation)
    return _bound(sizes, w[..., 0].size, b, subnormal)


def depthwise_conv2d_bound(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    subnormal: float = SUBNORMAL,
) -> np.ndarray:
    """conv2d_bound for depthwise_conv2d_forward, where K = KH*KW."""
    sizes = depthwise_conv2d_forward(*_magnitudes(x, w, b), stride=stride, pads=pads, dilation=dilation)
    return _bound(sizes, w[..., 0, 0].size, b, subnormal)


def _magnitudes(*arrays: np.ndarray | None) -> list[np.ndarray | None]:
    return [None if array is None else np.abs(array).astype(np.float64) for array in arrays]


def _bound(sizes: np.ndarray, products: int, b: np.ndarray | None, subnormal: float) -> np.ndarray:
    roundings = products + (b is not None)
    return gamma(roundings) * sizes + 2 * roundings * subnormal
