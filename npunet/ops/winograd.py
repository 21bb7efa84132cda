"""Dense 3x3 convolution with a quarter of the products: Winograd's F(4x4, 3x3), its order declared to the last bit.

A tile of 4x4 outputs reads 6x6 inputs d. With a kernel g, both transformed, its outputs are

    Y = A' [(G g G') * (B' d B)] A        ' transposes, * multiplies element by element

and over many input channels the products are summed before A' and A are applied. The matrices follow from the points
0, 3/4, -3/4, 3/2, -3/2 and infinity at which two polynomials are evaluated, multiplied and interpolated. These points
are exact in float32 with their powers and products, and keep the numbers of a size: random data came out with half the
error of the usual 0, 1, -1, 2, -2, the worst of it a quarter.

Source: Lavin & Gray 2016, arXiv:1509.09308; Barabasz, Anderson, Soodhalter & Gregg 2020, arXiv:1803.10986, on points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.geometry import Pads, Pair, output_size_2d
from npunet.ops.accumulate import accumulate, check_arithmetic, fma32

TILE = 4  # outputs of a tile along one axis
PATCH = 6  # inputs that they read
LEAST_CHANNELS, LEAST_FILTERS = 8, 2  # with fewer, the transforms cost more than the products that they save
A1, A2 = 0.75, 1.5  # the points, with either sign
SUM, PRODUCT = A1**2 + A2**2, A1**2 * A2**2

# in the order of the points 0, A1, -A1, A2, -A2, infinity
B_T = np.array([
    [PRODUCT, 0, -SUM, 0, 1, 0],
    [0, -A1 * A2**2, -(A2**2), A1, 1, 0],
    [0, A1 * A2**2, -(A2**2), -A1, 1, 0],
    [0, -A2 * A1**2, -(A1**2), A2, 1, 0],
    [0, A2 * A1**2, -(A1**2), -A2, 1, 0],
    [0, PRODUCT, 0, -SUM, 0, 1],
])
NORM_1, NORM_2 = 2 * A1**2 * (A1**2 - A2**2), 2 * A2**2 * (A2**2 - A1**2)
G = np.array([
    [1 / PRODUCT, 0, 0],
    [1 / NORM_1, A1 / NORM_1, A1**2 / NORM_1],
    [1 / NORM_1, -A1 / NORM_1, A1**2 / NORM_1],
    [1 / NORM_2, A2 / NORM_2, A2**2 / NORM_2],
    [1 / NORM_2, -A2 / NORM_2, A2**2 / NORM_2],
    [0, 0, 1],
])
A_T = np.array([
    [1, 1, 1, 1, 1, 0],
    [0, A1, -A1, A2, -A2, 0],
    [0, A1**2, A1**2, A2**2, A2**2, 0],
    [0, A1**3, -(A1**3), A2**3, -(A2**3), 1],
])


def applies(output: Pair, w: tuple[int, ...], stride: Pair, dilation: Pair) -> bool:
    """Whether the arithmetic "winograd" computes a convolution this way; if not, it is summed as in "seq_fma".

    output : (OH, OW), not so small that its tiles take more than half of the products of a direct convolution
    w      : shape of the kernel, (KH, KW, C, F)
    """
    KH, KW, C, F = w
    dense = (KH, KW) == (3, 3) and tuple(stride) == tuple(dilation) == (1, 1)
    products = PATCH * PATCH * -(-output[0] // TILE) * -(-output[1] // TILE)
    halved = 2 * products <= KH * KW * output[0] * output[1]
    return dense and halved and C >= LEAST_CHANNELS and F >= LEAST_FILTERS


def conv2d_winograd(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, *, pads: Pads) -> np.ndarray:
    """conv2d_forward of a 3x3 kernel, stride and dilation 1, by F(4x4, 3x3).

    Tiles begin at output (0, 0); where the last ones reach beyond the image they read zeros, and their outputs there
    are dropped. Kernels are transformed in float64 and rounded once. Inputs and products are transformed in float32,
    each patch first along its columns, then along its rows. Sums over C: from +0, ascending, fused. Then the bias.

    x : (N, H, W, C) float32;  w : (3, 3, C, F) float32;  b : (F,) float32 or None

    Returns y : (N, OH, OW, F). Raises ValueError for anything but float32.
    """
    check_arithmetic("winograd", x.dtype)
    U = transform_kernel(w)  # (6, 6, C, F)
    with np.errstate(over="ignore", invalid="ignore"):  # as in C: infinities and NaN, no warning
        V = in_both_axes(transform_input, patches(x, pads))  # (6, 6, N, TY, TX, C)
        M = np.zeros((*V.shape[:-1], w.shape[3]), x.dtype)  # (6, 6, N, TY, TX, F)
        for i, j in np.ndindex(PATCH, PATCH):
            M[i, j] = accumulate(M[i, j], V[i, j], U[i, j], "seq_fma")
        y = joined(in_both_axes(transform_output, M), output_size_2d(x.shape[1:3], (3, 3), (1, 1), pads))
        return y if b is None else y + b


def transform_kernel(w: np.ndarray) -> np.ndarray:
    """U = fl(G g G'): the columns of every 3x3 kernel, then its rows, in float64; rounded to float32 at the end.

    w : (3, 3, C, F) float32.  Returns (6, 6, C, F) float32.
    """
    def transform(g: np.ndarray) -> np.ndarray:
        return np.stack([g[0] * row[0] + g[1] * row[1] + g[2] * row[2] for row in G])

    return in_both_axes(transform, w.astype(np.float64)).astype(np.float32)


def transform_input(d: np.ndarray) -> np.ndarray:
    """B' d for six float32 arrays d[0] ... d[5], with fused multiply-adds. Returns them stacked."""
    even_1, odd_1 = fused(-(A2**2), d[2], d[4]), fused(-(A2**2), d[1], d[3])
    even_2, odd_2 = fused(-(A1**2), d[2], d[4]), fused(-(A1**2), d[1], d[3])
    return np.stack([
        fused(PRODUCT, d[0], fused(-SUM, d[2], d[4])),
        fused(A1, odd_1, even_1), fused(-A1, odd_1, even_1),
        fused(A2, odd_2, even_2), fused(-A2, odd_2, even_2),
        fused(PRODUCT, d[1], fused(-SUM, d[3], d[5])),
    ])


def transform_output(m: np.ndarray) -> np.ndarray:
    """A' m for six float32 arrays m[0] ... m[5]. Returns four, stacked."""
    sum_1, difference_1 = m[1] + m[2], m[1] - m[2]
    sum_2, difference_2 = m[3] + m[4], m[3] - m[4]
    return np.stack([
        (m[0] + sum_1) + sum_2,
        fused(A2, difference_2, np.float32(A1) * difference_1),
        fused(A2**2, sum_2, np.float32(A1**2) * sum_1),
        fused(A2**3, difference_2, fused(A1**3, difference_1, m[5])),
    ])


def fused(factor: float, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """fl(factor * a + b)."""
    return fma32(a, np.float32(factor), b)


def in_both_axes(transform: Callable[[np.ndarray], np.ndarray], tile: np.ndarray) -> np.ndarray:
    """Transform a tile (rows, columns, ...) along its columns, then along its rows."""
    return transform(transform(tile).swapaxes(0, 1)).swapaxes(0, 1)


def patches(x: np.ndarray, pads: Pads) -> np.ndarray:
    """The 6x6 inputs of every tile: (6, 6, N, TY, TX, C) of an image x (N, H, W, C), zeros around it."""
    N, H, W, C = x.shape
    (top, _), (left, _) = pads
    OH, OW = output_size_2d((H, W), (3, 3), (1, 1), pads)
    down, across = -(-OH // TILE) * TILE, -(-OW // TILE) * TILE  # outputs of whole tiles
    image = np.zeros((N, down + 2, across + 2, C), x.dtype)
    image[:, top : top + H, left : left + W] = x
    return np.array([[image[:, i : i + down : TILE, j : j + across : TILE] for j in range(PATCH)]
                     for i in range(PATCH)])


def joined(tiles: np.ndarray, output: Pair) -> np.ndarray:
    """The image (N, OH, OW, F) that tiles (4, 4, N, TY, TX, F) make up, less what reaches beyond it."""
    _, _, N, TY, TX, F = tiles.shape
    return np.ascontiguousarray(
        tiles.transpose(2, 3, 0, 4, 1, 5).reshape(N, TILE * TY, TILE * TX, F)[:, : output[0], : output[1]])
