"""What a block needs to know of a network, be it of floats or of integers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from npunet import footprint
from npunet.distributed.halo import Halo, halos, integer_halos
from npunet.integer.resize import resized
from npunet.integer_model import IntegerModel
from npunet.model import UNet
from npunet.segment import Segmenter

DECLARED = ("seq", "seq_fma")  # orders of summation whose bits do not depend on where a window begins


@dataclass(frozen=True)
class Blockwise:
    """A network that can be run block by block.

    model    : UNet, IntegerModel, or the float face of an integer network (integer_model.Dequantized)
    rank     : axes of space, 1 for signals, 2 for images
    channels : of the input
    classes  : of the output
    takes    : dtype of a window
    gives    : dtype of the output
    blank    : value of the padding that pad=True would add
    halos    : along every axis of space
    """

    model: Any
    rank: int
    channels: int
    classes: int
    takes: np.dtype
    gives: np.dtype
    blank: int
    halos: tuple[Halo, ...]

    def refuse_dtype(self, dtype: np.dtype) -> None:
        """Raise ValueError for an array whose values the network does not take."""
        if isinstance(self.model, IntegerModel) and dtype != self.takes:
            raise ValueError(f"the array has dtype {dtype}; the integer network takes {self.takes}: quantize_input "
                             "makes it, and dequantized() takes real numbers")
        if dtype.kind not in "fiub":
            raise ValueError(f"the array has dtype {dtype}; it must hold real numbers")

    def how(self, backend: str, arithmetic: str | None, threads: int | None) -> dict[str, Any]:
        """The arguments of `model.predict`, checked. Raises ValueError for an arithmetic whose bits depend on the
        length."""
        if not isinstance(self.model, UNet):
            if arithmetic is not None:
                raise ValueError(f"arithmetic={arithmetic!r} is for float networks; integers come out the same in "
                                 "every order")
            return {"backend": backend, "threads": threads}
        arithmetic = arithmetic or ("seq_fma" if self.model.dtype == "float32" else "seq")
        if arithmetic not in DECLARED:
            raise ValueError(f"arithmetic={arithmetic!r}: bits may depend on where a block begins; blocks run "
                             f"{' or '.join(map(repr, DECLARED))}")
        self.model._choose(backend, arithmetic)
        return {"backend": backend, "arithmetic": arithmetic, "threads": threads}

    def run(self, window: np.ndarray, how: dict[str, Any]) -> np.ndarray:
        """The network's output (B, *space, K) for a window (B, *space, C), also where a file's own has fewer axes."""
        y: np.ndarray = self.model.predict(window, **how)
        return y.reshape(*window.shape[:-1], self.classes)

    def window_bytes(self, size: tuple[int, ...], samples: int) -> int:
        """Bytes that the NumPy executor takes at most for `samples` windows of a size that the strides divide."""
        height, width = (1, *size)[-2:]
        if isinstance(self.model, UNet):
            return footprint.batch_bytes(self.model.sizes.graph((height, width)), self.model.dtype, samples)
        network = resized(_integer(self.model).network, (height, width))
        largest = max(prod(tensor.shape) for tensor in network.tensors.values())
        return 8 * 4 * largest * samples  # operands, padded input and sums are int64

    @property
    def of_labels(self) -> np.dtype:
        """The dtype of class numbers."""
        return np.dtype(np.uint8 if self.classes <= 256 else np.uint16)


def blockwise(model: Any) -> Blockwise:
    """A model as blocks run it.

    model : UNet, IntegerModel, what dequantized() gives, or a Segmenter of one

    Raises ValueError for another model, and for a network that cannot be cut, with the way out.
    """
    network = model.network if isinstance(model, Segmenter) else model
    if isinstance(network, UNet):
        around, graph, dtype = halos(network.sizes), network.graph, np.dtype(network.dtype)
        classes = graph.shape(graph.output)[2]
        return Blockwise(network, network.sizes.rank, network.sizes.channels, classes, dtype, dtype, 0, around)
    if not isinstance(network, IntegerModel) and not isinstance(getattr(network, "model", None), IntegerModel):
        raise ValueError(f"blocks run a UNet, a Segmenter or an IntegerModel, not {type(model).__name__}")
    integers = _integer(network)
    whole = network is integers
    takes = np.dtype(integers.dtype if whole else np.float32)
    return Blockwise(network, len(integers.input_shape) - 1, integers.input_shape[-1], integers.num_classes, takes,
                     takes, integers.input_qparams[1] if whole else 0, integer_halos(integers.network))


def _integer(model: Any) -> IntegerModel:
    """The integer network itself, or that behind a float face."""
    return model if isinstance(model, IntegerModel) else model.model
