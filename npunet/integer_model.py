"""IntegerModel: the integer network that a user holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from npunet.dequantized import Dequantized
from npunet.engine.runtime import first_use
from npunet.engine.runtime.cache import IntegerEngines
from npunet.engine.runtime.entry_points import INTEGER
from npunet.engine.runtime.installed import EngineUnavailable, engine_usable, remember_failure
from npunet.formats import integer_file
from npunet.formats.kinds import is_tflite
from npunet.integer import run
from npunet.integer.network import Network, Tensor
from npunet.integer.quantization.calibrate import Progress
from npunet.integer.quantization.quantize import quantize_network
from npunet.integer.quantization.scales import round_half_away
from npunet.integer.resize import resized
from npunet.layer_values import LayerValues
from npunet.limits import Unsupported
from npunet.reading import parse_json, reading
from npunet.values import count, words

if TYPE_CHECKING:  # imported where used
    from npunet.inference.session import Session
    from npunet.inference.stream import Stream

BACKENDS = ("auto", "numpy", "engine")
VALUES_AT_ONCE = 2**19  # of the largest tensor: more do not stay in a cache
SIZES_KEPT = 8  # for which a model remembers its network
CLASS_NAMES, PREPARATION = "class_names", "preparation"  # what a Segmenter's metadata is called


def quantize(model: Any, calibration: np.ndarray, scheme: str = "int8", rounding: str = "D", *,
             calibration_method: str = "minmax", progress: Progress | None = None) -> IntegerModel:
    """The integer form of a trained network.

    model       : UNet or Segmenter, of float32
    calibration : (N, L, C) or (N, H, W, C) real numbers, inputs such as the network will see; a hundred will do. Their
                  size becomes the network's where it left one open
    scheme      : "int8", or "int16x8" for activations of 16 bits, weights of 8 and a 64-bit bias
    rounding    : profile of every requantisation, "D" or "S" (integer.fixed_point.requantize)
    calibration_method : "minmax" as TensorFlow Lite's converter, "percentile" or "mse" (integer.quantization.calibrate)
    progress    : called with (samples done, samples in all)

    Raises ValueError for calibration data that is empty, constant or not finite, and for a network without an integer
    form, with the layer's name.
    """
    if isinstance(model, IntegerModel):
        raise ValueError("the model is an integer network already; quantise the float model that it was made from")
    network = getattr(model, "network", model)  # of a Segmenter
    if not hasattr(network, "sizes"):
        raise ValueError(f"model is {type(model).__name__}; quantize takes a UNet or a Segmenter, such as npunet.load "
                         "gives")
    made = quantize_network(network, calibration, scheme, rounding, calibration_method, progress)
    return IntegerModel(replace(made, metadata=described(model)))


def described(model: Any) -> Mapping[str, str]:
    """What a Segmenter knows, as texts that travel with a network in a file; nothing of another model."""
    if not hasattr(model, CLASS_NAMES):
        return {}
    told = {CLASS_NAMES: json.dumps(list(model.class_names))}
    if model.preparation is not None:
        told[PREPARATION] = json.dumps(model.preparation.to_dict(), sort_keys=True)
    return told


class IntegerModel:
    """An integer network: integers in, integers out, the same on every machine.

    network : its whole description, plain data (integer.network)

    Made by npunet.quantize, npunet.load (.npz, .tflite).
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._at = lru_cache(SIZES_KEPT)(lambda size: resized(network, size))
        self._engines = IntegerEngines()

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
        """Names of the classes, where the float model had them; else empty. Raises ValueError for damaged ones."""
        with reading(self.network.name, "is an integer network whose names of classes cannot be read"):
            names = words("the names", parse_json(self.network.metadata.get(CLASS_NAMES, "[]")))
            if names and len(names) != self.num_classes:
                raise ValueError(f"it has {len(names)} names of classes, and gives {self.num_classes}")
            return names

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
        x = _real("x", x).astype(np.float32)
        if np.isnan(x).any():
            raise ValueError(f"x holds {int(np.isnan(x).sum())} NaN, which no integer stands for; replace them first")
        scale, zero_point = self.input_qparams
        low, high = self._input.limits
        steps = np.clip(x / np.float32(scale), -(2.0**17), 2.0**17).astype(np.float64)
        return np.clip(round_half_away(steps) + zero_point, low, high).astype(self.dtype)

    def dequantize_output(self, y: np.ndarray) -> np.ndarray:
        """What the network's integers mean: fl(scale * (y - zero point)), float32."""
        scale, zero_point = self.output_qparams
        return (scale * (_real("y", y).astype(np.float64) - zero_point)).astype(np.float32)

    def summary(self) -> str:
        """The layer table: operators, shapes, weights, multiply-accumulates, scales and zero points."""
        from npunet.integer.summary import table

        return table(self.network)

    def predict(self, x: np.ndarray, backend: str = "auto", threads: int | None = None) -> np.ndarray:
        """Run the network; the same integers from every backend.

        x       : (B, *input_shape) of the network's dtype; another size where the strides divide it
        backend : "numpy" (the operators by their definition), "engine" (Numba) or "auto", which takes the engine where
                  it can: Numba is installed and the network has no operator that the engine lacks. While the engine is
                  not yet compiled on this machine, NumPy runs small jobs for it; see engine.runtime.first_use
        threads : of the engine at most so many, where the work is worth sharing; None for one per core

        Returns (B, *output_shape), integers. Raises ValueError for an x that does not fit, with the way out.
        """
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r} must be one of {', '.join(BACKENDS)}")
        if threads is not None:
            count("threads", threads)
        network, images = self.admit(x)
        y = None
        if backend == "engine" or (backend == "auto" and engine_usable()):
            y = self._by_engine(network, images, threads, backend == "auto")
        if y is None:
            y = _in_numpy(network, images)
        return y.reshape(len(images), *network.output_shape)

    def _by_engine(self, network: Network, images: np.ndarray, threads: int | None, auto: bool) -> np.ndarray | None:
        """The result of a job that takes the engine, or with `auto` NumPy first where nothing is compiled yet; None
        where only NumPy is left."""
        if not auto:
            return self._engines.get(network, threads)(images)
        chosen = first_use.auto_backend(INTEGER, lambda: len(images) * network.macs)
        if chosen == "numpy":
            y = first_use.on_account(lambda count: _in_numpy(network, images, count))
            return self._by_engine(network, images, threads, auto) if y is None else y
        try:
            return self._engines.get(network, threads)(images) if chosen else None
        except Unsupported:
            return None

    def compile(self, input_shape: tuple[int, ...] | None = None, *, batch: int = 1,
                threads: int | None = None) -> Session:
        """The network ready for repeated calls at one size; see Session.

        input_shape : of one sample, (L, C) or (H, W, C); None for the model's own
        batch       : samples a call

        The rest as for predict(backend="engine"). Raises ValueError for a size that does not fit, ImportError without
        Numba.
        """
        from npunet.inference.session import Session, new_input

        shape = self.input_shape if input_shape is None else input_shape
        if not isinstance(shape, (tuple, list)) or any(
                isinstance(size, bool) or not hasattr(size, "__index__") or size < 1 for size in shape):
            raise ValueError(f"input_shape={input_shape!r} must hold sizes from 1; a session is for one size")
        x = new_input(batch, tuple(shape), self.dtype)
        network, images = self.admit(x)
        return Session(self._engines.make(network, threads), x, images, network.output_shape)

    def stream(self, output: str = "logits", *, backend: str = "auto", threads: int | None = 1) -> Stream:
        """The network for a signal that arrives piece by piece, in its own integers; see Stream.

        output : "logits", what predict gives, or "labels", the likeliest class of each sample

        Raises ValueError for a network of images, and for one that is bound to its size.
        """
        from npunet.inference.stream import Stream, integer_signal

        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r} must be one of {', '.join(BACKENDS)}")
        if backend == "auto":
            backend = "engine" if self._runs_in_engine(threads) else "numpy"
        return Stream(integer_signal(self.network, backend, threads), output)

    def _runs_in_engine(self, threads: int | None) -> bool:
        """Whether the engine can run the network, its code being compiled now if it is not there yet."""
        if not engine_usable():
            return False
        try:
            self._engines.get(self.network, threads)
        except EngineUnavailable as error:
            remember_failure(error)
            return False
        except Unsupported:
            return False
        return True

    def release(self) -> None:
        """Let the engines that predict has kept go, with their memory; the next prediction makes its own anew."""
        self._engines.release()

    def trace(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network and return every tensor by name, in execution order.

        x : as for predict

        Returns {layer: (B, H, W, C)} integers; a signal's layers have H = 1. An activation that became the clamp of
        the operator before it has one tensor with it, under the activation's name. A network from a .tflite has its
        tensors also under the file's own names and in the file's own shapes (B, ...). A name that is not there is a
        KeyError with those that are nearest.
        """
        network, images = self.admit(x)
        pieces = [run.forward(network, piece) for piece in _pieces(network, images)]
        if not pieces:
            pieces = [{name: np.empty((0, *t.shape), t.dtype) for name, t in network.tensors.items()}]
        trace = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        views = {name: trace[view.source].reshape(len(images), *view.shape) for name, view in network.views.items()}
        del trace[network.input]
        return LayerValues(trace | views)

    def dequantized(self) -> Dequantized:
        """The network with a UNet's face: real numbers in and out, integers between."""
        return Dequantized(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to one .npz, atomically; the same network gives the same bytes."""
        integer_file.save(path, self.network)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> IntegerModel:
        """Read what save wrote, or a .tflite of integers, ours or a converter's.

        Raises FileNotFoundError, ValueError when the file is no integer network, MissingExtra.
        """
        if not is_tflite(path):
            return cls(integer_file.load(path))
        from npunet.formats import tflite

        return cls(tflite.read_integer(path))

    def export_tflite(self, path: str | PathLike[str]) -> None:
        """Write the network as .tflite, atomically, with RESIZE_NEAREST_NEIGHBOR for upsampling.

        Raises ValueError for an operator or profile that the format does not have, MissingExtra.
        """
        from npunet.formats import tflite

        tflite.write_integer(path, self.network)

    def admit(self, x: np.ndarray) -> tuple[Network, np.ndarray]:
        """The network for the size of the user's batch, and the batch as images (B, H, W, C)."""
        x = np.asarray(x)
        if x.dtype != self.dtype:
            way = "quantize_input(x) makes it" if x.dtype.kind == "f" else (
                f"x.astype({self.dtype!r}) makes it where every value fits")
            raise ValueError(f"x has dtype {x.dtype}; the network takes {self.dtype}: {way}")
        if x.ndim != len(self.input_shape) + 1 or x.shape[-1] != self.input_shape[-1]:
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(f"x has shape {x.shape}; the network takes (B, {wanted})")
        images = x.reshape(len(x), *(1,) * (4 - x.ndim), *x.shape[1:])
        return self._at(images.shape[1:3]), images

    @property
    def _input(self) -> Tensor:
        return self.network.tensors[self.network.input]

    @property
    def _output(self) -> Tensor:
        return self.network.tensors[self.network.output]

    def __reduce__(self) -> tuple[Any, ...]:
        return IntegerModel, (self.network,)

    def __repr__(self) -> str:
        return (f"IntegerModel({self.network.name!r}, {self.scheme}, rounding={self.rounding!r}, "
                f"input_shape={self.input_shape}, num_classes={self.num_classes}, "
                f"{self.network.parameters:,} parameters)")


def _in_numpy(network: Network, images: np.ndarray, after_each: Callable[[], None] = lambda: None) -> np.ndarray:
    """The network by its definition, a piece of the batch at a time."""
    done = []
    for piece in _pieces(network, images):
        done.append(run.infer(network, piece))
        after_each()
    return np.concatenate(done) if done else np.empty((0,), network.tensors[network.output].dtype)


def _pieces(network: Network, images: np.ndarray) -> list[np.ndarray]:
    """A batch in parts whose largest tensor has VALUES_AT_ONCE values at most."""
    largest = max(int(np.prod(tensor.shape)) for tensor in network.tensors.values())
    size = max(1, VALUES_AT_ONCE // largest)
    return [images[start : start + size] for start in range(0, len(images), size)]


def _real(where: str, values: Any) -> np.ndarray:
    """An array of real numbers. Raises ValueError."""
    made = np.asarray(values)
    if made.dtype.kind not in "fiub":
        raise ValueError(f"{where} has dtype {made.dtype}; it must hold real numbers")
    return made
