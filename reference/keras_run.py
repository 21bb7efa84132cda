"""Runs one configuration through the published Keras U-Net and returns everything that is stored of it."""

from __future__ import annotations

import contextlib
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # Eigen's kernels alone, so that machines agree
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import draw
import keras
import keras.src.backend
import numpy as np
import tensorflow as tf
from naming import underscored
from neuralspot_edge.models.unet import UNetModel, UNetParams

LEARNING_RATE, MOMENTUM, STEPS = 0.01, 0.9, 3


def single_threaded() -> None:
    """One thread everywhere, so that sums come in one order; before the first operation only."""
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(draw.SEED)


@contextlib.contextmanager
def layers_in_order_of_creation():
    """Collects every layer at its first call; Keras' own lists are sorted by depth, this one follows the source."""
    seen, original = [], keras.layers.Layer.__call__

    def recording(self, *args, **kwargs):
        if not any(layer is self for layer in seen):
            seen.append(self)
        return original(self, *args, **kwargs)

    keras.layers.Layer.__call__ = recording
    try:
        yield seen
    finally:
        keras.layers.Layer.__call__ = original


@contextlib.contextmanager
def exact_constants():
    """Let 1e-3 of the L2 term and 0.9 of the momentum arrive whole in float64.

    Keras' cast sends a Python float through float32 (since the L2 term uses it; older versions multiplied directly).
    In float32 this changes nothing. The leaky ReLU's slope stays what TensorFlow's kernel makes of it, float32(0.2).
    """
    core = keras.src.backend.core
    original = core.cast
    core.cast = lambda x, dtype: tf.constant(x, dtype) if isinstance(x, float) else original(x, dtype)
    try:
        yield
    finally:
        core.cast = original


def build(params: dict, input_shape: tuple, num_classes: int, floatx: str) -> tuple[keras.Model, list]:
    """The reference's model in `floatx`, and its layers in the order of unet.py, without the input layer."""
    keras.backend.clear_session()
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    inputs = keras.Input(tuple(input_shape))
    with layers_in_order_of_creation() as layers:
        model = UNetModel.model_from_params(inputs, UNetParams(**params), num_classes)
    return model, [layer for layer in layers if not isinstance(layer, (keras.Model, keras.layers.InputLayer))]


def variables(layers: list) -> dict:
    """Every variable by our name, in order of creation."""
    weighted = [layer for layer in layers if not isinstance(layer, keras.layers.Dropout)]  # it counts its random seeds
    return {f"{underscored(layer.name)}/{v.name}": v for layer in weighted for v in layer.variables}


def fix_dropout(layers: list, case: dict) -> dict[str, np.ndarray]:
    """Replace the random masks by stored ones: training multiplies by mask / (1 - rate), as Keras does.

    Returns the masks, uint8 (B, H, W, C), by layer: "dropout", "dropout_1", ... in order of creation.
    """
    masks = {}
    for layer in layers:
        if isinstance(layer, keras.layers.Dropout):
            shape = (case["batch"], *layer.output.shape[1:])
            masks[layer.name] = draw.dropout_mask(case["name"], layer.name, shape, layer.rate)
            layer.call = masked(tf.constant(masks[layer.name] / (1.0 - layer.rate), layer.compute_dtype))
    return masks


def masked(multiplier: tf.Tensor):
    """A dropout call with its mask given."""

    def call(inputs, training=False):
        return inputs * multiplier if training else inputs

    return call


def loss_function(case: dict):
    """Cross-entropy from logits unless the network ends in its softmax; or the mean squared error."""
    if case["loss"] == "mean_squared_error":
        return keras.losses.MeanSquaredError()
    ends_in_softmax = case["params"].get("include_top", True) and not case["params"].get("use_logits", True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax)


def assign(named: dict, values: dict) -> None:
    """Set every variable."""
    for name, variable in named.items():
        variable.assign(values[name].astype(variable.dtype))


def traced(model: keras.Model, layers: list, x: tf.Tensor, training: bool) -> dict[str, np.ndarray]:
    """Every layer's output (B, H, W, C) but for the two reshapes of a 1-D network, by our names."""
    kept = [layer for layer in layers if not isinstance(layer, keras.layers.Reshape)]
    outputs = keras.Model(model.inputs, [layer.output for layer in kept])(x, training=training)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return {underscored(layer.name): y.numpy() for layer, y in zip(kept, outputs, strict=True)}


def gradients(model: keras.Model, named: dict, case: dict, x: tf.Tensor, labels: np.ndarray, training: bool) -> dict:
    """Output, loss, L2 term, and the gradients of the loss alone and with the L2 term added."""
    trainable = {name: v for name, v in named.items() if v.trainable}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = model(x, training=training)
        loss = loss_function(case)(labels, y)
        l2 = tf.add_n(model.losses)
        total = loss + l2
    watched = [v.value for v in trainable.values()]
    found = {"y": y, "loss": loss, "l2": l2, "dx": tape.gradient(loss, x)}
    found |= {f"grad/{name}": g for name, g in zip(trainable, tape.gradient(loss, watched), strict=True)}
    found |= {f"grad_l2/{name}": g for name, g in zip(trainable, tape.gradient(total, watched), strict=True)}
    if training:
        found |= {f"stat/{name}": v.value for name, v in named.items() if not v.trainable}
    return {key: np.asarray(value) for key, value in found.items()}


def descend(model: keras.Model, named: dict, case: dict, x: tf.Tensor, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Every weight and statistic after STEPS steps of SGD on the same batch, L2 term included."""
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            loss = loss_function(case)(labels, model(x, training=True)) + tf.add_n(model.losses)
        dweights = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(dweights, model.trainable_variables, strict=True))
    return {f"sgd/{name}": variable.numpy() for name, variable in named.items()}


def run(case: dict, floatx: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Description of the case and its arrays in `floatx`; float64 runs also give the trace and the SGD steps."""
    with exact_constants():
        return _run(case, floatx)


def _run(case: dict, floatx: str) -> tuple[dict, dict[str, np.ndarray]]:
    params = json.loads(json.dumps(case["params"]))
    model, layers = build(params, case["input_shape"], case["num_classes"], floatx)
    named = variables(layers)
    weights = {name: draw.weight(case, name, tuple(v.shape)) for name, v in named.items()}
    masks = fix_dropout(layers, case)
    x32 = draw.inputs(case)
    x = tf.constant(x32, floatx)
    labels = draw.labels(case, (case["batch"], *model.output.shape[1:]))
    arrays = {"x": x32, "labels": labels}
    arrays |= {f"mask/{name}": mask for name, mask in masks.items()}
    arrays |= {f"weights/{name}": value for name, value in weights.items()}
    for mode in ("inference", "training"):
        assign(named, weights)
        results = gradients(model, named, case, x, labels, mode == "training")
        arrays |= {f"{mode}/{floatx}/{key}": value for key, value in results.items()}
        if floatx == "float64":
            assign(named, weights)
            trace = traced(model, layers, x, mode == "training")
            arrays |= {f"{mode}/{floatx}/trace/{name}": value for name, value in trace.items()}
    if floatx == "float64":
        assign(named, weights)
        arrays |= {f"sgd/{floatx}/{key[4:]}": v for key, v in descend(model, named, case, x, labels).items()}
    return describe(case, params, model, layers, named), arrays


def describe(case: dict, params: dict, model: keras.Model, layers: list, named: dict) -> dict:
    """What a reader needs beside the arrays: arguments, names in order of creation, counts."""
    return {
        **{key: case[key] for key in ("name", "num_classes", "batch", "loss")},
        "params": params,
        "input_shape": list(case["input_shape"]),
        "output_shape": list(model.output.shape[1:]),
        "keras_layers": [layer.name for layer in layers],
        "weights": list(named),
        "trainable": [name for name, v in named.items() if v.trainable],
        "parameters": int(sum(np.prod(v.shape) for v in named.values())),
        "sgd": {"learning_rate": LEARNING_RATE, "momentum": MOMENTUM, "steps": STEPS, "l2": True},
    }
