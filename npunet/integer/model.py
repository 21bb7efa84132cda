"""IntegerModel: the integer network that a user holds."""

from __future__ import annotations

import json
from os import PathLike

import numpy as np

from npunet.integer import run, storage
from npunet.integer.network import Network, Tensor
from npunet.integer.quantization.scales import round_half_away

BACKENDS = ("auto", "numpy")
VALUES_AT_ONCE = 2**22  # of the largest tensor


class IntegerModel:
    """An integer network: integers in, integers out, the same on every machine.

    network : its whole description, plain data (integer.network)

    Made by npunet.quantize, npunet.load (.npz, .tflite).
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def scheme(self) -> str:
        """ "int8" or "int16x8"."""
        return self.network.scheme

    @property
    def rounding(self) -> str:
        """The profile of every requantisation, "D" or "S"."""
        return self.network.rounding

    @property
    def dtype(self) -> str:
        """Type of input and output: "int8" or "int16"."""
        return self._input.dtype

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What one sample looks like: (L, C) or (H, W, C)."""
        return self.network.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What the result of one sample looks like: (L, K) or (H, W, K)."""
        return self.network.output_shape

    @property
    def num_classes(self) -> int:
        """Channels of the output."""
        return self.network.output_shape[-1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, where the float model had them; else empty."""
        return tuple(json.loads(self.network.metadata.get("class_names", "[]")))

    @property
    def input_qparams(self) -> tuple[float, int]:
        """(scale, zero point) of the input: value = scale * (q - zero point)."""
        return self._input.scale, self._input.zero_point

    @property
    def output_qparams(self) -> tuple[float, int]:
        """(scale, zero point) of the output."""
        return self._output.scale, self._output.zero_point

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Real inputs as the network takes them: round_half_away(fl(x / scale)) + zero point, clamped.

        x : any shape, real numbers, taken as float32

        Raises ValueError for NaN. Source: TensorFlow Lite, `AffineQuantize`.
        """
        x = np.asarray(x, np.float32)
        if np.isnan(x).any():
            raise ValueError(f"x holds {int(np.isnan(x).sum())} NaN, which no integer stands for; replace them first")
        scale, zero_point = self.input_qparams
        low, high = self._input.limits
        steps = np.clip(x / np.float32(scale), -(2.0**17), 2.0**17).astype(np.float64)
        return np.clip(round_half_away(steps) + zero_point, low, high).astype(self.dtype)

    def dequantize_output(self, y: np.ndarray) -> np.ndarray:
        """What the network's integers mean: fl(scale * (y - zero point)), float32."""
        scale, zero_point = self.output_qparams
        return (scale * (np.asarray(y, np.float64) - zero_point)).astype(np.float32)

    def predict(self, x: np.ndarray, backend: str = "auto") -> np.ndarray:
        """Run the network.

        x       : (B, *input_shape) of the network's dtype
        backend : "numpy" (the operators by their definition) or "auto", the fastest that there is

        Returns (B, *output_shape), integers. Raises ValueError for an x that does not fit, with the way out.
        """
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r} must be one of {', '.join(BACKENDS)}")
        images = self._admit(x)
        pieces = [run.infer(self.network, piece) for piece in self._pieces(images)]
        y = np.concatenate(pieces) if pieces else np.empty((0, *self._output.shape), self._output.dtype)
        return y.reshape(len(images), *self.output_shape)

    def trace(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network and return every tensor by name, in execution order.

        x : as for predict

        Returns {layer: (B, H, W, C)} integers; a signal's layers have H = 1. An activation that became the clamp of
        the operator before it has one tensor with it, under the activation's name. A network from a .tflite has its
        tensors also under the file's own names and in the file's own shapes (B, ...).
        """
        images = self._admit(x)
        pieces = [run.forward(self.network, piece) for piece in self._pieces(images)]
        if not pieces:
            pieces = [{name: np.empty((0, *t.shape), t.dtype) for name, t in self.network.tensors.items()}]
        trace = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        views = {name: trace[view.source].reshape(len(images), *view.shape)
                 for name, view in self.network.views.items()}
        del trace[self.network.input]
        return trace | views

    def predict_float(self, x: np.ndarray, backend: str = "auto") -> np.ndarray:
        """Real numbers in and out, with the integer network between: dequantize_output(predict(quantize_input(x)))."""
        return self.dequantize_output(self.predict(self.quantize_input(x), backend))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to one .npz, atomically; the same network gives the same bytes."""
        storage.save(path, self.network)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> IntegerModel:
        """Read what save wrote. Raises FileNotFoundError, ValueError when the file is no integer network."""
        return cls(storage.load(path))

    def export_tflite(self, path: str | PathLike[str]) -> None:
        """Write the network as .tflite, atomically, with RESIZE_NEAREST_NEIGHBOR for upsampling.

        Raises ValueError for an operator or profile that the format does not have, MissingExtra.
        """
        from npunet.formats import tflite  # the format stands above the network that it writes down

        tflite.write_integer(path, self.network)

    def _admit(self, x: np.ndarray) -> np.ndarray:
        """The user's batch as images (B, H, W, C). Raises ValueError with the way out."""
        x = np.asarray(x)
        if x.dtype != self.dtype:
            way = "quantize_input(x) makes it" if x.dtype.kind == "f" else f"x.astype({self.dtype!r}) makes it"
            raise ValueError(f"x has dtype {x.dtype}; the network takes {self.dtype}: {way}")
        if x.shape[1:] != self.input_shape:
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(f"x has shape {x.shape}; the network takes (B, {wanted}): an integer network has the one "
                             "size that it was calibrated at")
        return x.reshape(len(x), *self._input.shape)

    def _pieces(self, images: np.ndarray) -> list[np.ndarray]:
        largest = max(int(np.prod(tensor.shape)) for tensor in self.network.tensors.values())
        size = max(1, VALUES_AT_ONCE // largest)
        return [images[start : start + size] for start in range(0, len(images), size)]

    @property
    def _input(self) -> Tensor:
        return self.network.tensors[self.network.input]

    @property
    def _output(self) -> Tensor:
        return self.network.tensors[self.network.output]

    def __repr__(self) -> str:
        weights = sum(node.arrays["weights"].size for node in self.network if "weights" in node.arrays)
        return (f"IntegerModel({self.network.name!r}, {self.scheme}, rounding={self.rounding!r}, "
                f"input_shape={self.input_shape}, num_classes={self.num_classes}, {weights:,} weights)")
