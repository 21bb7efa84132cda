"""How far a float32 result may lie from the exact one: whatever the order of summation, or by Winograd's algorithm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.geometry import Pads, Pair, output_size_2d
from npunet.ops import winograd
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


def conv2d_winograd_bound(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    pads: Pads = ((0, 0), (0, 0)),
    subnormal: float = SUBNORMAL,
) -> np.ndarray:
    """Bound on |computed - exact| for every element of ops.winograd.conv2d_winograd.

    bound = gamma(C + 11) * (|A'| (sum over c of |U| * (|B'| |d| |B|)) |A| + |b|) + underflow, gamma(C + 12) with a bias

    An output is a sum of products a a' U b b' d of entries of A (twice), U, B (twice) and d, and each of these passes
    through at most: 1 rounding, of U to float32; 2 in B' along each axis, 4; C fused multiply-adds; 3 in A' along each
    axis, 6; and the bias. So it is off by gamma of their number, as in lemma 3.1, and so is their sum, of magnitudes.
    U = |fl(G g G')| + 2^-26 |G| |g| |G'|: the second part stands for U's roundings in float64, at most 8, because
    gamma(12) 2^-26 > 8 * 2^-53. No cancellation between the products helps: they are what a tile really adds up.

    Underflow, in units of `subnormal`, twice to allow for roundings that follow: a transformed input is off by at most
    k = 7/2 (1 + largest sum of a row of |B'|), a product's factor U by 1, each of C multiply-adds by 1, and an output
    by 2 (1 + largest sum of a row of |A'|) of its own.

    Arguments as conv2d_bound's, for a kernel (3, 3, C, F), stride and dilation 1. Returns (N, OH, OW, F), float64.
    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, lemma 3.1; Barabasz et al. 2020,
    arXiv:1803.10986, section 3, for bounds by norms.
    """
    size_x, size_w, size_b = _magnitudes(x, w, b)
    C = x.shape[3]
    U = np.abs(winograd.transform_kernel(w)) + 2.0**-26 * winograd.in_both_axes(_sizes_of(winograd.G), size_w)
    V = winograd.in_both_axes(_sizes_of(winograd.B_T), winograd.patches(size_x, pads))  # (6, 6, N, TY, TX, C)
    products = np.einsum("ijnyxc,ijcf->ijnyxf", V, U)
    k = 3.5 * (1 + _widest_row(winograd.B_T))
    floor = k * U.sum(2)[:, :, None, None, None] + V.sum(5, keepdims=True) + C
    out = _sizes_of(winograd.A_T)
    output = output_size_2d(x.shape[1:3], (3, 3), (1, 1), pads)
    sizes, floor = (winograd.joined(winograd.in_both_axes(out, part), output) for part in (products, floor))
    roundings = C + 11 + (b is not None)
    sizes = sizes if b is None else sizes + size_b
    return gamma(roundings) * sizes + 2 * subnormal * (floor + 2 * (1 + _widest_row(winograd.A_T)) + 1)


def _sizes_of(matrix: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The transform by a matrix of magnitudes."""
    return lambda tile: np.tensordot(np.abs(matrix), tile, 1)


def _widest_row(matrix: np.ndarray) -> float:
    return float(np.abs(matrix).sum(1).max())


def _magnitudes(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    size_b = None if b is None else np.abs(b).astype(np.float64)
    return np.abs(x).astype(np.float64), np.abs(w).astype(np.float64), size_b


def _bound(sizes: np.ndarray, products: int, b: np.ndarray | None, subnormal: float) -> np.ndarray:
    roundings = products + (b is not None)
    return gamma(roundings) * sizes + 2 * roundings * subnormal
