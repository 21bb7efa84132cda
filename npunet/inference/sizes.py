"""Between the user's arrays and the network's images: ranks, open sizes, padding, one graph per size."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np

from npunet import unet
from npunet.geometry import Pair
from npunet.graph import Graph
from npunet.params import UNetParams
from npunet.values import LARGEST, flag

GRAPHS_KEPT = 16  # sizes for which a model remembers its graph
SHAPES_KEPT = 64  # of arrays that it knows to fit


class Sizes:
    """The input sizes that one network takes.

    input_shape : (L, C) or (H, W, C), None for an open size
    """

    def __init__(self, params: UNetParams, input_shape: tuple[int | None, ...], num_classes: int | None) -> None:
        self.input_shape = check_shape(input_shape)
        self.rank = len(self.input_shape) - 1
        self.multiple = unet.stride_product(params, self.rank)
        self.fixed = [number for number, block in enumerate(params.blocks, start=1) if block.norm == "layer"]
        if self.fixed and None in self.input_shape:
            raise ValueError(
                f"block {self.fixed[0]} (ENC{self.fixed[0]}): norm='layer' has one weight a position and needs a fixed "
                f"size, input_shape={self.input_shape} leaves one open; give the size or use norm='batch'"
            )
        height, width, channels = (1,) * (3 - len(self.input_shape)) + self.input_shape
        self.size: Pair = (height or self.multiple[0], width or self.multiple[1])
        self._build = lru_cache(GRAPHS_KEPT)(
            lambda size: unet.build(params, (*size, channels), num_classes, rank=self.rank)
        )
        self._fitting: dict[tuple, tuple[int, ...]] = {}  # what arrays that fit as they are look like, and their images
        self.graph()

    @property
    def channels(self) -> int:
        """Of the input; never open."""
        return int(self.input_shape[-1] or 0)

    def graph(self, size: Pair | None = None) -> Graph:
        """The network at (H, W), by default at the model's own size."""
        return self._build(self.size if size is None else tuple(size))

    def admit(self, x: np.ndarray, dtype: str, pad: bool = False) -> tuple[np.ndarray, Pair | None]:
        """The user's batch as images (B, H, W, C), padded if that was asked for, and the size to crop the result to."""
        x = np.asarray(x)
        looks = x.shape, x.dtype, dtype
        if (fitting := self._fitting.get(looks)) is not None:
            return x.reshape(fitting), None
        if x.dtype.kind not in "fiub":
            raise ValueError(f"x has dtype {x.dtype}; it must hold real numbers")
        expected = ("B", *("any" if size is None else size for size in self.input_shape))
        if x.ndim != len(expected):
            raise ValueError(f"x has shape {x.shape}; the network takes ({', '.join(map(str, expected))})")
        if x.shape[-1] != self.input_shape[-1]:
            raise ValueError(
                f"x has {x.shape[-1]} channels (shape {x.shape}); the network takes {self.input_shape[-1]}"
            )
        images = x.astype(dtype, copy=False).reshape(len(x), *(1,) * (2 - self.rank), *x.shape[1:])
        size = images.shape[1:3]
        if 0 in size:
            raise ValueError(f"x has shape {x.shape}: no samples along an axis")
        if self.fixed and size != self.size:
            raise ValueError(f"x has size {size[2 - self.rank:]}; layer norm in block {self.fixed[0]} fixes it to "
                             f"{self.size[2 - self.rank:]}. Cut the input into windows of that size")
        padded = tuple(-(-extent // multiple) * multiple for extent, multiple in zip(size, self.multiple, strict=True))
        if padded == size:
            if x.dtype == dtype:
                if len(self._fitting) == SHAPES_KEPT:
                    self._fitting.clear()
                self._fitting[looks] = images.shape
            return images, None
        if not pad:
            raise ValueError(f"x has size {size[2 - self.rank:]}, which the strides do not divide; pad it to "
                             f"{padded[2 - self.rank:]} or use predict(..., pad=True)")
        after = [(0, to - extent) for extent, to in zip(size, padded, strict=True)]
        return np.pad(images, [(0, 0), *after, (0, 0)]), size

    def admit_labels(self, labels: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Labels with the height that a signal's images have."""
        labels = np.asarray(labels)
        batch = (len(images), *images.shape[3 - self.rank : 3])
        if labels.shape[: self.rank + 1] != batch:
            raise ValueError(f"the labels have shape {labels.shape}, the input has {' x '.join(map(str, batch))} "
                             "positions; give each a class")
        return labels[:, None] if self.rank == 1 else labels

    def release(self, y: np.ndarray, crop: Pair | None) -> np.ndarray:
        """The network's images as the user's batch, cropped to what came in."""
        if crop is not None:
            y = y[:, :crop[0], :crop[1]]
        return y[:, 0] if self.rank == 1 else y

    def wasted_rows(self) -> str:
        """What kernels taller than a height-1 signal waste, in words; empty when nothing is."""
        if (self.input_shape[0] if self.rank == 2 else 1) != 1:
            return ""
        specs = self.graph().weights.values()
        wasted = sum((spec.shape[0] - 1) * spec.size // spec.shape[0] for spec in specs if len(spec.shape) == 4)
        if not wasted:
            return ""
        return (f"on a signal of height 1 only the middle row of every kernel is ever used: {wasted:,} of "
                f"{sum(spec.size for spec in specs):,} weights are never read. Give kernel and output_kernel_size as "
                "(1, k); an int k means k x k, as in the reference")


def asked_to_pad(pad: bool, fit: str | None) -> bool:
    """predict's `pad`, or its older name and value pad=True. Raises ValueError for any other value of either."""
    if fit is not None or isinstance(pad, str):
        value = pad if fit is None else fit
        if value != "pad":
            raise ValueError(f"fit={value!r} must be None or 'pad', which is written pad=True now")
        warnings.warn("fit='pad' is written pad=True now; the next version takes no other", DeprecationWarning,
                      stacklevel=3)
        return True
    return flag("pad", False if pad is None else pad)


def check_shape(input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """input_shape as a tuple of positive ints or None. Raises ValueError with the way out."""
    try:
        shape = tuple(input_shape)
    except TypeError:
        shape = ()
    if len(shape) not in (2, 3) or isinstance(input_shape, str | bytes):
        raise ValueError(f"input_shape={input_shape!r:.80} must be (L, C) for signals or (H, W, C) for images")
    if shape[-1] is None:
        raise ValueError(f"input_shape={shape} leaves the channels open; give their number")
    for size in shape:
        if size is not None and (isinstance(size, bool) or not hasattr(size, "__index__") or size < 1):
            raise ValueError(f"input_shape={shape}: {size!r:.80} must be a positive int, or None for an open size")
        if size is not None and size > LARGEST:
            raise ValueError(f"input_shape: a size must be at most {LARGEST:,}, and is larger")
    return tuple(None if size is None else int(size) for size in shape)
