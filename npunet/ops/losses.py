"""Losses, each with its gradient for the network's output.

Labels are integers of the output's shape without its class axis. A loss is summed over positions in float64 in
row-major order, divided by the number of positions that count, and rounded once to the output's dtype.
Positions whose label is `ignore_label` do not count, neither in the sum nor in that number; with none left the loss
and the gradient are 0. Class weights multiply a position's loss and leave the number as it is (Keras'
sum_over_batch_size).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npunet.ops.accumulate import sequential_sum
from npunet.ops.softmax import softmax_backward, softmax_forward

CLIP = 1e-7  # Keras' backend.epsilon()


def sparse_categorical_crossentropy_forward(
    x: np.ndarray,
    labels: np.ndarray,
    *,
    from_logits: bool = True,
    class_weights: Sequence[float] | None = None,
    ignore_label: int | None = None,
) -> np.number:
    """Mean of -log(probability of the label).

    loss = sum over positions of weight[label] * (log(sum over k of exp(z[k])) - z[label]) / number of positions
    z = x for logits; z = log(clip(x, 1e-7, 1 - 1e-7)) for probabilities, which the formula then renormalises

    x : (..., K)           logits or probabilities, any float dtype
    labels : (...)         integers 0 ... K-1, or ignore_label
    class_weights : (K,)   or None for 1

    Raises ValueError for labels out of range, of another shape or not integer, and for K wrong in class_weights.
    Source: Keras API, keras.losses.SparseCategoricalCrossentropy.
    """
    counted, labels = check_labels(x, labels, ignore_label)
    weights = weights_of_classes(class_weights, x.shape[-1])[labels] * counted
    z = _wide(x) if from_logits else np.log(_clip(_wide(x)))
    top = np.take_along_axis(z, z.real.argmax(-1)[..., None], -1)
    losses = np.log(np.exp(z - top).sum(-1)) - (_pick(z, labels) - top[..., 0])
    return _mean(np.where(counted, weights * losses, 0), counted, x.dtype)


def sparse_categorical_crossentropy_backward(
    x: np.ndarray,
    labels: np.ndarray,
    *,
    from_logits: bool = True,
    class_weights: Sequence[float] | None = None,
    ignore_label: int | None = None,
) -> np.ndarray:
    """Gradient of sparse_categorical_crossentropy_forward: dx.

    dz = weight[label] * (softmax(z) - [k is the label]) / number of positions; dx = dz for logits;
    dx = dz / x for probabilities, and 0 where x is clipped (at exactly 1e-7 and 1 - 1e-7 it is not)
    """
    counted, labels = check_labels(x, labels, ignore_label)
    weights = weights_of_classes(class_weights, x.shape[-1])[labels] * counted / max(1, counted.sum())
    wide = _wide(x)
    z = wide if from_logits else np.log(_clip(wide))
    dz = weights[..., None] * (softmax_forward(z) - _one_hot(labels, z))
    dx = dz if from_logits else _unclipped(wide) * dz / _clip(wide)
    return np.where(counted[..., None], dx, 0).astype(x.dtype)


def categorical_focal_forward(
    x: np.ndarray,
    labels: np.ndarray,
    *,
    from_logits: bool = True,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    ignore_label: int | None = None,
) -> np.number:
    """Cross-entropy that counts easy positions less.

    loss = sum over positions of alpha[label] * (1 - p)^gamma * -log(p) / number of positions
    p = clip(y[label] / sum over k of y[k], 1e-7, 1 - 1e-7);  y = softmax(x) for logits, x for probabilities

    x : (..., K)      logits or probabilities, any float dtype
    labels : (...)    integers 0 ... K-1, or ignore_label
    alpha : one number, or one for each class;  gamma >= 0

    Raises ValueError for labels out of range, of another shape or not integer, and for K wrong in alpha.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 5; Keras API, keras.losses.CategoricalFocalCrossentropy.
    """
    counted, labels = check_labels(x, labels, ignore_label)
    alphas = weights_of_classes(alpha, x.shape[-1])[labels]
    y = softmax_forward(_wide(x)) if from_logits else _wide(x)
    p = _clip(_pick(y, labels) / y.sum(-1))
    return _mean(np.where(counted, alphas * (1 - p) ** gamma * -np.log(p), 0), counted, x.dtype)


def categorical_focal_backward(
    x: np.ndarray,
    labels: np.ndarray,
    *,
    from_logits: bool = True,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    ignore_label: int | None = None,
) -> np.ndarray:
    """Gradient of categorical_focal_forward: dx.

    dp = alpha * (gamma * (1 - p)^(gamma - 1) * log(p) - (1 - p)^gamma / p) / number of positions, 0 where p is clipped;
    dy = dp * ([k is the label] - y[label] / sum(y)) / sum(y);  dx = softmax_backward(dy) for logits, dy otherwise
    """
    counted, labels = check_labels(x, labels, ignore_label)
    alphas = weights_of_classes(alpha, x.shape[-1])[labels] * counted / max(1, counted.sum())
    y = softmax_forward(_wide(x)) if from_logits else _wide(x)
    total = y.sum(-1)
    share = _pick(y, labels) / total
    p = _clip(share)
    dp = alphas * (gamma * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma / p) * _unclipped(share)
    dy = (dp / total)[..., None] * (_one_hot(labels, y) - share[..., None])
    dx = softmax_backward(dy, _wide(x))[0] if from_logits else dy
    return np.where(counted[..., None], dx, 0).astype(x.dtype)


def dice_forward(
    x: np.ndarray, labels: np.ndarray, *, axis: Sequence[int] | None = None, from_logits: bool = True,
    ignore_label: int | None = None
) -> np.number:
    """One minus the soft Dice overlap of labels and probabilities.

    loss = mean of 1 - 2 * sum(t * y) / (sum(t) + sum(y) + 1e-7), each sum over `axis`
    t = 1 for the label and 0 for other classes;  y = softmax(x) for logits, x for probabilities

    x : (..., K)      logits or probabilities, any float dtype
    labels : (...)    integers 0 ... K-1, or ignore_label, whose positions enter no sum
    axis : axes of x, as of keras.losses.Dice; None for all of them together. (1, 2) of (N, H, W, K) judges every class
           of every image by itself: few small objects then count as much as many large ones

    Raises ValueError for labels out of range, of another shape or not integer.
    Source: Milletari, Navab & Ahmadi 2016, arXiv:1606.04797, section 3; first powers below, as in keras.losses.Dice.
    """
    overlap, sizes, counted, _ = _dice_sums(x, labels, axis, from_logits, ignore_label)
    losses = np.where(counted, 1 - 2 * overlap / sizes, 0)
    return x.dtype.type(sequential_sum(losses, tuple(range(x.ndim))) / max(1, counted.sum()))


def dice_backward(
    x: np.ndarray, labels: np.ndarray, *, axis: Sequence[int] | None = None, from_logits: bool = True,
    ignore_label: int | None = None
) -> np.ndarray:
    """Gradient of dice_forward: dx.

    dy = (-2 * t / sizes + 2 * sum(t * y) / sizes^2) / number of overlaps, sizes the denominator
    dx = softmax_backward(dy) for logits
    """
    overlap, sizes, counted, targets = _dice_sums(x, labels, axis, from_logits, ignore_label)
    here = (labels != ignore_label)[..., None]
    dy = np.where(here, 2 * (overlap / sizes - targets) / sizes / max(1, counted.sum()), 0)
    dx = softmax_backward(dy, _wide(x))[0] if from_logits else dy
    return np.where(here, dx, 0).astype(x.dtype)


def mean_squared_error_forward(x: np.ndarray, labels: np.ndarray) -> np.number:
    """Mean of (x - labels)^2 over all elements.

    x, labels : one shape, any float dtype

    Raises ValueError when the shapes differ.
    Source: Keras API, keras.losses.MeanSquaredError.
    """
    check_shape(labels, x.shape)
    error = _wide(x) - labels
    return _mean(error * error, np.ones(x.shape, bool), x.dtype)


def mean_squared_error_backward(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient of mean_squared_error_forward: dx = 2 * (x - labels) / number of elements."""
    check_shape(labels, x.shape)
    return (2 * (_wide(x) - labels) / max(1, x.size)).astype(x.dtype)


def _dice_sums(
    x: np.ndarray, labels: np.ndarray, axis: Sequence[int] | None, from_logits: bool, ignore_label: int | None
) -> tuple[np.ndarray, ...]:
    """sum(t * y) and the denominator, both with x's axes; which of them have a position that counts; and t."""
    counted, labels = check_labels(x, labels, ignore_label)
    axes = tuple(range(x.ndim)) if axis is None else tuple(sorted({int(a) % x.ndim for a in _axes(axis, x.ndim)}))
    y = softmax_forward(_wide(x)) if from_logits else _wide(x)
    y = np.where(counted[..., None], y, 0)
    targets = _one_hot(labels, y) * counted[..., None]
    overlap, size_t, size_y = (np.expand_dims(sequential_sum(each, axes), axes) for each in (targets * y, targets, y))
    some = np.broadcast_to(counted[..., None], x.shape).any(axes, keepdims=True)
    return overlap, size_t + size_y + CLIP, np.asarray(some), targets


def _axes(axis: Sequence[int], rank: int) -> Sequence[int]:
    if not axis or not all(isinstance(a, int) and -rank <= a < rank for a in axis):
        raise ValueError(f"axis={axis!r} must list some axes of an array with {rank}, from 0 to {rank - 1}")
    return axis


def check_labels(x: np.ndarray, labels: np.ndarray, ignore_label: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which positions count, and labels with 0 at the others."""
    check_shape(labels, x.shape[:-1])
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels are {labels.dtype}; they must be integers")
    counted = np.ones(labels.shape, bool) if ignore_label is None else labels != ignore_label
    classes = x.shape[-1]
    wrong = counted & ((labels < 0) | (labels >= classes))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        also = "" if ignore_label is None else f", or the ignore label {ignore_label}"
        raise ValueError(f"label {labels[place]} at {place}: labels must lie in 0..{classes - 1}{also}")
    return counted, np.where(counted, labels, 0).astype(np.intp)


def check_shape(labels: np.ndarray, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless labels have the expected shape."""
    if labels.shape != expected:
        raise ValueError(f"labels have shape {labels.shape}; an output of this kind needs {expected}")


def weights_of_classes(values: float | Sequence[float] | None, classes: int) -> np.ndarray:
    """One float64 for each class."""
    weights = np.asarray(1.0 if values is None else values, np.float64)
    if weights.ndim and weights.shape != (classes,):
        raise ValueError(f"{weights.size} class weights for {classes} classes; give one for each")
    return np.broadcast_to(weights, (classes,))


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.promote_types(x.dtype, np.float64))


def _pick(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """y at the label of each position."""
    return np.take_along_axis(y, labels[..., None], -1)[..., 0]


def _one_hot(labels: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (labels[..., None] == np.arange(y.shape[-1])).astype(y.dtype)


def _clip(p: np.ndarray) -> np.ndarray:
    """Clip to 1e-7 ... 1 - 1e-7 by the real part."""
    return np.where(p.real < CLIP, CLIP, np.where(p.real > 1 - CLIP, 1 - CLIP, p))


def _unclipped(p: np.ndarray) -> np.ndarray:
    """Where _clip leaves p as it is."""
    return (p.real >= CLIP) & (p.real <= 1 - CLIP)


def _mean(losses: np.ndarray, counted: np.ndarray, dtype: np.dtype) -> np.number:
    total = sequential_sum(losses, tuple(range(losses.ndim)))
    return dtype.type(total / max(1, counted.sum()))
