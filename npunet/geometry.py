"""Output sizes and SAME pads: the only place with this arithmetic.

The rules are TensorFlow's: with SAME the output has ceil(size / stride) positions, the padding that this needs is
split in two, and the odd one goes after. With VALID nothing is padded.
Source: TensorFlow API, tf.nn, "Notes on padding".
"""

from __future__ import annotations

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def effective_kernel(kernel: int, dilation: int) -> int:
    """Extent of a dilated kernel: (kernel - 1) * dilation + 1."""
    return (kernel - 1) * dilation + 1


def same_output(size: int, stride: int) -> int:
    """Number of output positions under SAME: ceil(size / stride)."""
    return -(-size // stride)


def same_pads(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> Pair:
    """Padding (before, after) of one axis under SAME; the odd one goes after."""
    total = max((same_output(size, stride) - 1) * stride + effective_kernel(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def same_pads_2d(size: Pair, kernel: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Pads:
    """Padding ((top, bottom), (left, right)) of an image under SAME."""
    return (
        same_pads(size[0], kernel[0], stride[0], dilation[0]),
        same_pads(size[1], kernel[1], stride[1], dilation[1]),
    )


def output_size(size: int, kernel: int, stride: int, pads: Pair, dilation: int = 1) -> int:
    """Number of positions that a window takes on one padded axis.

    Raises ValueError when the padded axis is shorter than the dilated kernel.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, relationship 15.
    """
    padded, extent = size + sum(pads), effective_kernel(kernel, dilation)
    if padded < extent:
        raise ValueError(
            f"a kernel of {kernel} with dilation {dilation} spans {extent} positions, but the padded input has "
            f"{padded}; use a smaller kernel or dilation, or pad the input"
        )
    return (padded - extent) // stride + 1


def output_size_2d(size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Pair:
    """Output (OH, OW) of a window on a padded image; see output_size."""
    return (
        output_size(size[0], kernel[0], stride[0], pads[0], dilation[0]),
        output_size(size[1], kernel[1], stride[1], pads[1], dilation[1]),
    )
