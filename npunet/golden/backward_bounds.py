"""How far a correct float32 port's gradients may lie from the definition, fed with the port's own tensors.

A gradient is a sum of products. With every factor replaced by its magnitude the same formula gives the size S of its
terms, and n roundings in any order leave an error of at most gamma(n) S. Where a factor was itself computed (the
normalised value, a probability), its rounding is counted in n and its magnitude is that before any cancellation.
Nothing is carried on from layer to layer: each tensor is judged by what the port itself had before it, so that a ReLU
or a pooling picks the same elements on both sides.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from npunet.golden.backward import CLIP, DECLARED, SQUARED_ERROR
from npunet.golden.bounds import CORRECT, LARGEST, bound_of
from npunet.graph import Node
from npunet.limits import entry_of
from npunet.ops.bounds import SUBNORMAL, gamma
from npunet.ops.table import OPERATORS

EXP_ROUNDINGS = 12  # of an exponential, its argument and what is done with it
Arrays = Sequence[np.ndarray]


def gradient_bounds(node: Node, dy: np.ndarray, operands: Arrays) -> list[np.ndarray | None]:
    """Bound on every gradient of a layer, in the order of its operands; None for a constant.

    dy, operands : the port's, float64
    """
    with np.errstate(all="ignore"):
        size, count = size_of(node)(node, np.abs(dy), operands)
        return [None if value is None else bounded(value, count) for value in size]


def bounded(size: np.ndarray, count: int) -> np.ndarray:
    """gamma(count) times the size of the terms, with a floor among the subnormals, infinite where they may overflow."""
    found = gamma(count) * size * (1 + 2.0**-20) + count * 2 * SUBNORMAL
    return np.where(size <= LARGEST, found, np.inf)


def _backward(node: Node, dy: np.ndarray, operands: Arrays) -> tuple:
    return DECLARED.get(node.op, OPERATORS[node.op].backward)(dy, *operands, **node.attrs)


def _picked(node: Node, dy: np.ndarray, operands: Arrays) -> tuple[Sequence[np.ndarray | None], int]:
    """Operators that hand dy on to the elements that they took: clamps, pooling, upsampling, additions, dropout."""
    taps = int(np.prod([*node.attrs.get("window", (1,)), *node.attrs.get("factor", (1,))]))
    return [None if value is None else np.abs(value) for value in _backward(node, dy, operands)], taps + 2


def _summed(node: Node, dy: np.ndarray, operands: Arrays) -> tuple[Arrays, int]:
    """Convolutions: over taps and filters for the input, over positions for weights; a separable one both."""
    taps = sum(int(np.prod(w.shape)) // w.shape[2] for w in operands[1:] if w.ndim == 4)
    positions = dy.size // dy.shape[3]
    stages = sum(w.ndim == 4 for w in operands[1:])
    inner = operands[1].shape[0] * operands[1].shape[1] if stages > 1 else 0
    return _backward(node, dy, [np.abs(value) for value in operands]), max(taps, positions * stages) + taps + inner + 4


def _bent(node: Node, dy: np.ndarray, operands: Arrays) -> tuple[Arrays, int]:
    """Activations with a slope, and with an exponential."""
    return [np.abs(value) for value in _backward(node, dy, operands)], EXP_ROUNDINGS


def _softmax(node: Node, dy: np.ndarray, operands: Arrays) -> tuple[Arrays, int]:
    """y (dy - sum dy y): both terms, with what an exponential of that argument may be off."""
    below = operands[0].max(-1, keepdims=True) - operands[0]
    y = np.exp(-below)
    y /= y.sum(-1, keepdims=True)
    finite = below[np.isfinite(below)]
    return [y * (dy + (dy * y).sum(-1, keepdims=True))], _of_softmax(y.shape[-1], float(finite.max(initial=0)))


def _of_softmax(classes: int, below: float) -> int:
    return 4 * classes + 2 * EXP_ROUNDINGS + 4 * int(min(below, 128.0))


def _normalised(node: Node, dy: np.ndarray, operands: Arrays) -> tuple[Arrays, int]:
    """Batch norm in training and layer norm: g r (dy - mean(dy) - h mean(dy h)), with |h| <= r (|x| + mean |x|)."""
    (x, gain, _), batch = operands, node.op == "batch_norm_train"
    axes = (0, 1, 2) if batch else tuple(node.attrs["axes"])
    gain = np.abs(gain) if batch else np.abs(gain)[None, :, :, None]
    mean, r, n = _moments(x, axes, node.attrs["eps"])
    h = r * (np.abs(x) + mean)
    inside = gain * dy
    dx = r * (inside + inside.mean(axes, keepdims=True) + h * (inside * h).mean(axes, keepdims=True))
    over = (0, 1, 2) if batch else (0, 3)
    return [dx, (dy * h).sum(over), dy.sum(over)], 6 * n + dy.size // max(1, n) + 40


def _moments(x: np.ndarray, axes: tuple[int, ...], eps: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean magnitude, 1 / deviation, and how many values are normalised together."""
    n = int(np.prod([x.shape[axis] for axis in axes]))
    return np.abs(x).mean(axes, keepdims=True), 1 / np.sqrt(x.var(axes, keepdims=True) + eps), n


SIZES: dict[str, Callable] = {
    "conv2d": _summed, "depthwise_conv2d": _summed, "separable_conv2d": _summed, "softmax": _softmax,
    "batch_norm_train": _normalised, "layer_norm": _normalised,
    **dict.fromkeys(("leaky_relu", "elu", "selu"), _bent),
    **dict.fromkeys(("relu6", "relu", "max_pool2d", "avg_pool2d", "upsample_nearest2d", "batch_norm_inference",
                     "concat", "add", "dropout", "dropout_inference"), _picked),
}


def size_of(node: Node) -> Callable:
    """How large the terms of a node's gradients are, and how many. Raises Unsupported where nobody derived it."""
    return entry_of(SIZES, node, "npunet.golden.backward_bounds", "verify the bundle without its gradients")


def training_bound(node: Node, operands: Arrays) -> np.ndarray:
    """Bound on the output of a layer in training, fed with the port's own tensors."""
    if node.op == "dropout":
        return bounded(np.abs(operands[0] * operands[1]), 2)
    if node.op == "batch_norm_train":
        x, gain, beta = operands
        mean, r, n = _moments(x, (0, 1, 2), node.attrs["eps"])
        return bounded(np.abs(gain) * r * (np.abs(x) + mean) + np.abs(beta), 6 * n + 40)
    count = len(node.inputs)
    still = [np.zeros(value.shape) for value in operands[:count]]
    with np.errstate(all="ignore"):
        return bound_of(node)(node, list(operands[:count]), still, list(operands[count:]), CORRECT) * (1 + 2.0**-20)


def statistics_bounds(x: np.ndarray) -> dict[str, np.ndarray]:
    """Bounds on the mean and the variance of a batch, (C,) each."""
    n = x.size // x.shape[3]
    mean = np.abs(x).mean((0, 1, 2))
    return {"moving_mean": bounded(mean, n + 2),
            "moving_variance": bounded(((np.abs(x) + mean) ** 2).mean((0, 1, 2)), 4 * n + 8)}


def loss_bound(loss: str, y: np.ndarray, labels: np.ndarray, probabilities: bool) -> np.ndarray:
    """Bound on dLoss / dy."""
    if loss == SQUARED_ERROR:
        return bounded(2 * (np.abs(y) + np.abs(labels)) / y.size, 6)
    of_label = np.arange(y.shape[-1]) == labels[..., None]
    if probabilities:
        scores = np.clip(y, CLIP, 1 - CLIP)
        return bounded((scores / scores.sum(-1, keepdims=True) + of_label) / scores / labels.size, 4 * y.shape[-1] + 12)
    below = y.max(-1, keepdims=True) - y
    p = np.exp(-below)
    size = (p / p.sum(-1, keepdims=True) + of_label) / labels.size
    return bounded(size, _of_softmax(y.shape[-1], float(below.max(initial=0))))
