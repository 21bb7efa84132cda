"""The KH x KW shifted views of a padded image that convolution and pooling run over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.geometry import Pads, Pair, output_size_2d


class Windows:
    """Views of a padded image, one for each tap of a kernel; iterating gives (ky, kx) row by row.

    taps[ky, kx][n, i, j, c] = padded[n, i*sy + ky*dy, j*sx + kx*dx, c]

    shape_out : (N, OH, OW)
    image : the part of the padded image that is the image itself
    """

    def __init__(self, padded: np.ndarray, image: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, out: Pair):
        self.padded, self.image = padded, image
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.shape_out = (len(padded), *out)

    def __iter__(self) -> Iterator[Pair]:
        return iter(np.ndindex(self.kernel))

    def __getitem__(self, tap: Pair) -> np.ndarray:
        rows, columns = (
            slice(k * d, k * d + (count - 1) * s + 1, s)
            for k, d, s, count in zip(tap, self.dilation, self.stride, self.shape_out[1:], strict=True)
        )
        return self.padded[:, rows, columns]  # (N, OH, OW, C)


def windows(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair = (1, 1),
    pads: Pads = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    fill: float = 0,
) -> Windows:
    """The windows of an image, its padding filled with a constant.

    x : (N, H, W, C)
    kernel, stride, dilation : (vertical, horizontal), at least 1
    pads : ((top, bottom), (left, right)), at least 0

    Without padding the views are of x itself; with it, of a padded copy.
    Raises ValueError when the padded image is smaller than the dilated kernel.
    """
    N, H, W, C = x.shape
    out = output_size_2d((H, W), kernel, stride, pads, dilation)
    (top, bottom), (left, right) = pads
    if not (top or bottom or left or right):
        return Windows(x, x, kernel, stride, dilation, out)
    padded = np.full((N, top + H + bottom, left + W + right, C), fill, x.dtype)
    image = padded[:, top : top + H, left : left + W]
    image[...] = x
    return Windows(padded, image, kernel, stride, dilation, out)
