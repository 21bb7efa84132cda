"""An integer network with a UNet's face: real numbers in and out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from npunet.inference.sizes import asked_to_pad
from npunet.integer.resize import multiple_of

if TYPE_CHECKING:
    from npunet.integer_model import IntegerModel


class Dequantized:
    """An integer network with a UNet's face: what segments, scores and draws float networks takes it as it is.

    model : the integer network
    """

    def __init__(self, model: IntegerModel) -> None:
        self.model = model
        self.input_shape, self.num_classes = model.input_shape, model.num_classes
        self.sizes = SimpleNamespace(multiple=multiple_of(model.network), rank=len(model.input_shape) - 1)
        last = model.network[model.network.output]
        top = any(layer.startswith("NECK") or layer == "softmax" for layer in (last.name, *last.layers))
        self.params = SimpleNamespace(name=model.network.name, include_top=top,
                                      use_logits=last.op not in ("softmax", "softmax16"))

    def predict(self, x: np.ndarray, backend: str = "auto", arithmetic: None = None, threads: int | None = None,
                pad: bool = False, *, fit: str | None = None) -> np.ndarray:
        """dequantize_output(predict(quantize_input(x))).

        x   : (B, L, C) or (B, H, W, C) real numbers
        pad : pad a size that the strides do not divide with zeros at its end, and crop the result
        fit : "pad" is the older way to write pad=True
        arithmetic : None; integers come out the same in every order
        backend, threads : as IntegerModel.predict

        Returns (B, L, K) or (B, H, W, K) float32. Raises ValueError for an x that does not fit.
        """
        if arithmetic is not None:
            raise ValueError("arithmetic is for float networks; integers come out the same in every order")
        pad, x = asked_to_pad(pad, fit), np.asarray(x, np.float32)
        if x.ndim != self.sizes.rank + 2:
            raise ValueError(f"x has shape {x.shape}; the network takes (B, {', '.join(map(str, self.input_shape))})")
        size = x.shape[1:-1]
        x = self.padded(x) if pad else x
        y = self.model.dequantize_output(self.model.predict(self.model.quantize_input(x), backend, threads))
        return y[(slice(None), *(slice(extent) for extent in size))] if pad else y

    def padded(self, x: np.ndarray) -> np.ndarray:
        """A batch of real numbers with zeros at its end where the strides do not divide its size."""
        multiple = self.sizes.multiple[2 - self.sizes.rank :]
        after = [(0, -extent % step) for extent, step in zip(x.shape[1:-1], multiple, strict=True)]
        return np.pad(x, [(0, 0), *after, (0, 0)])
