"""The backward case: one training batch, its gradients, its batch-norm statistics and one step of SGD.

The forward pass is the training graph in the bundle's arithmetic, float32. Backward runs in float64 from its
activations and is rounded to float32 once; the sums of convolutions run in a stated order and exponentials are the
declared ones, so that no library decides a bit. SGD is Keras': v = momentum * v - rate * g, w = w + v, from v = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np

from npunet import run
from npunet.geometry import Pads, Pair
from npunet.golden import manifest
from npunet.golden.collect import Collector
from npunet.golden.draws import Draws
from npunet.golden.subject import Subject
from npunet.graph import Graph
from npunet.layers import BATCH_NORM_MOMENTUM
from npunet.ops.accumulate import accumulate, sequential_sum
from npunet.ops.activation import SELU_ALPHA, SELU_SCALE
from npunet.ops.depthwise import depthwise_conv2d_forward
from npunet.ops.exponential import exp32
from npunet.ops.norm import moving_statistics
from npunet.ops.table import OPERATORS
from npunet.ops.windows import windows

BATCH = 2
LEARNING_RATE = 2.0**-7
CLIP = 1e-7
CROSS_ENTROPY, SQUARED_ERROR = "sparse_categorical_crossentropy", "mean_squared_error"
OfConvolution = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # dx, dw, db


def backward_case(subject: Subject, arithmetic: str, seed: int) -> tuple[Collector, dict[str, Any]]:
    """The case, collected, and what the manifest says of it."""
    inference, weights, draws = subject.trained, dict(subject.model.weights), Draws(seed, "backward")
    graph = inference.for_training()
    x = draws.uniform((BATCH, *graph.input_shape), 2.0)
    labels, loss = _labels(graph, draws)
    masks = _masks(inference, draws)
    trace, saves = run.forward(graph, weights | masks, x, arithmetic=arithmetic)
    value, dy = _loss(loss, graph, trace[graph.output], labels)
    dtrace, dweights = differentiate(graph, weights | masks, trace, saves, dy)

    layers = manifest.layer_records(graph, {}, {})
    case = Collector("backward", "backward", loss, [f"sample {n}" for n in range(BATCH)], "backward",
                     {layer["id"]: layer for layer in layers})
    ids = manifest.layer_ids(graph)
    case.add("in", "in", x, None, True)
    case.add("labels", "labels", labels, None, True)
    case.add("din", "din", dtrace[graph.input].astype(np.float32), None, True)
    for node in graph:
        layer = ids[node.name]
        case.add(f"{layer}.out", "out", trace[node.name], layer, True)
        case.add(f"{layer}.dout", "dout", dtrace[node.name].astype(np.float32), layer, True)
        if node.op == "dropout":
            case.add(f"{layer}.mask", "mask", masks[node.weights[0]], layer, True)
    _add_weights(case, graph, weights, dweights, saves)
    records = manifest.weight_records(weights, graph)
    return case, {"layers": layers, "weights": records, "loss": loss, "loss_value": value,
                  "learning_rate": LEARNING_RATE, "momentum": 0.0}


def _add_weights(case: Collector, graph: Graph, weights: run.Tensors, dweights: run.Tensors, saves: run.Saves) -> None:
    for number, (name, value) in enumerate(weights.items()):
        weight = manifest.weight_id(number, name)
        case.add(f"{weight}.value", "value", value, None, True)
        layer, _, variable = name.partition("/")
        if variable.startswith("moving_"):
            batch = saves[layer][{"moving_mean": "mean", "moving_variance": "var"}[variable]]
            case.add(f"{weight}.batch", "batch", batch, None, True)
            case.add(f"{weight}.step", "step", moving_statistics(value, batch, BATCH_NORM_MOMENTUM), None, True)
        else:
            gradient = dweights[name].astype(np.float32)
            case.add(f"{weight}.grad", "grad", gradient, None, True)
            case.add(f"{weight}.step", "step", value + -np.float32(LEARNING_RATE) * gradient, None, True)


def _labels(graph: Graph, draws: Draws) -> tuple[np.ndarray, str]:
    """Class numbers, or values to come near where there is only one channel."""
    H, W, K = graph.shape(graph.output)
    if K == 1:
        return draws.uniform((BATCH, H, W, K), 2.0), SQUARED_ERROR
    return draws.integers((BATCH, H, W), 0, K).astype(np.int32), CROSS_ENTROPY


def _masks(graph: Graph, draws: Draws) -> run.Tensors:
    masks = {}
    for node in graph:
        if node.op == "dropout_inference":
            shape, rate = (BATCH, *node.shape), node.attrs["rate"]
            kept = draws.integers(shape, 0, 1 << 24) >= rate * (1 << 24)
            masks[f"{node.name}/mask"] = (kept / (1 - rate)).astype(np.float32)
    return masks


def _loss(loss: str, graph: Graph, y: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss, to six digits, and its gradient in float64; see ops.losses for the formulas."""
    if loss == SQUARED_ERROR:
        error = y.astype(np.float64) - labels
        return _six_digits(float(sequential_sum((error * error).ravel(), (0,)) / y.size)), 2 * error / y.size
    of_label = np.arange(y.shape[-1]) == labels[..., None]
    probabilities = graph[graph.output].op == "softmax"
    scores = np.clip(y.astype(np.float64), CLIP, 1 - CLIP) if probabilities else \
        exp32(y - y.max(-1, keepdims=True)).astype(np.float64)
    p = scores / sequential_sum(scores, (3,))[..., None]
    dz = (p - of_label) / labels.size
    value = sum(-log(share) for share in p[of_label].tolist()) / labels.size
    return _six_digits(value), np.where((y >= CLIP) & (y <= 1 - CLIP), dz / scores, 0) if probabilities else dz


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def differentiate(graph: Graph, weights: run.Tensors, trace: run.Tensors, saves: run.Saves,
                  dy: np.ndarray) -> tuple[run.Tensors, run.Tensors]:
    """run.backward in float64 from float32 activations, every sum in a stated order: (dtrace, dweights)."""
    dtrace: run.Tensors = {graph.output: dy}
    dweights: run.Tensors = {}
    for node in reversed(graph.nodes):
        operands = [value.astype(np.float64) for value in run.operands(node, trace, weights)]
        kept = {name: value.astype(np.float64) for name, value in saves[node.name].items()}
        backward = DECLARED.get(node.op, OPERATORS[node.op].backward)
        gradients = backward(dtrace[node.name], *operands, **node.attrs, **kept)
        homes = [dtrace] * len(node.inputs) + [dweights] * len(node.weights)
        for home, name, gradient in zip(homes, (*node.inputs, *node.weights), gradients, strict=False):
            if gradient is not None:
                home[name] = home[name] + gradient if name in home else gradient
    return dtrace, dweights


def _conv2d(dy: np.ndarray, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, *, stride: Pair = (1, 1),
            pads: Pads = ((0, 0), (0, 0)), dilation: Pair = (1, 1)) -> OfConvolution:
    taps = windows(x, w.shape[:2], stride, pads, dilation)
    dtaps = windows(np.zeros_like(x), w.shape[:2], stride, pads, dilation)
    positions = dy.reshape(-1, dy.shape[3])  # (P, F)
    dw = np.zeros_like(w)
    for ky, kx in taps:
        columns = taps[ky, kx].reshape(-1, x.shape[3]).T  # (C, P)
        dw[ky, kx] = accumulate(dw[ky, kx], columns, positions, "seq")
        dtaps[ky, kx][...] += accumulate(np.zeros((*dy.shape[:3], x.shape[3])), dy, w[ky, kx].T, "seq")
    return dtaps.image, dw, None if b is None else sequential_sum(dy, (0, 1, 2))


def _depthwise(dy: np.ndarray, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, *, stride: Pair,
               pads: Pads, dilation: Pair) -> OfConvolution:
    taps = windows(x, w.shape[:2], stride, pads, dilation)
    dtaps = windows(np.zeros_like(x), w.shape[:2], stride, pads, dilation)
    by_channel = dy.reshape(*taps.shape_out, *w.shape[2:])  # (N, OH, OW, C, M)
    dw = np.empty_like(w)
    for ky, kx in taps:
        dw[ky, kx] = sequential_sum(taps[ky, kx][..., None] * by_channel, (0, 1, 2))
        dtaps[ky, kx][...] += sequential_sum(by_channel * w[ky, kx], (4,))
    return dtaps.image, dw, None if b is None else sequential_sum(dy, (0, 1, 2))


def _separable(dy: np.ndarray, x: np.ndarray, depthwise_kernel: np.ndarray, pointwise_kernel: np.ndarray,
               bias: np.ndarray | None = None, *, stride: Pair, pads: Pads,
               dilation: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    h = depthwise_conv2d_forward(x, depthwise_kernel, stride=stride, pads=pads, dilation=dilation, arithmetic="seq")
    dh, dpointwise, dbias = _conv2d(dy, h, pointwise_kernel, bias)
    dx, ddepthwise, _ = _depthwise(dh, x, depthwise_kernel, stride=stride, pads=pads, dilation=dilation)
    return dx, ddepthwise, dpointwise, dbias


def _exp(x: np.ndarray) -> np.ndarray:
    return exp32(np.minimum(x, 0).astype(np.float32)).astype(np.float64)


def _elu(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    return (np.where(x > 0, dy, _exp(x) * dy),)


def _selu(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    return (np.where(x >= 0, SELU_SCALE, SELU_SCALE * SELU_ALPHA * _exp(x)) * dy,)


def _softmax(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    e = exp32((x - x.max(-1, keepdims=True)).astype(np.float32)).astype(np.float64)
    y = e / sequential_sum(e, (3,))[..., None]
    return (y * (dy - sequential_sum(dy * y, (3,))[..., None]),)


DECLARED: dict[str, Callable[..., tuple]] = {
    "conv2d": _conv2d, "depthwise_conv2d": _depthwise, "separable_conv2d": _separable, "elu": _elu, "selu": _selu,
    "softmax": _softmax,
}

