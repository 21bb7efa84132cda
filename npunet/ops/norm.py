"""Batch norm (training and inference are two operators) and layer norm, forward and backward."""

from __future__ import annotations

import numpy as np

from npunet.ops.accumulate import sequential_sum


def batch_norm_train_forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, eps: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Normalise every channel by the mean and variance of the batch.

    mean = sum(x) / n;  var = sum((x - mean)^2) / n   over the n = N*H*W positions (the biased variance)
    y = gamma * (x - mean) / sqrt(var + eps) + beta, computed as batch_norm_inference_forward does

    x : (N, H, W, C)     any float dtype
    gamma, beta : (C,)   dtype of x

    Returns y and {"mean": (C,), "var": (C,)}; both sums run in float64, row-major, and are rounded once to x's dtype.
    Raises ValueError when there are no positions.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """
    axes, n = _positions(x)
    mean = sequential_sum(x, axes) / n
    var = sequential_sum((x - mean) ** 2, axes) / n
    saves = {"mean": mean.astype(x.dtype), "var": var.astype(x.dtype)}
    return batch_norm_inference_forward(x, gamma, beta, **saves, eps=eps), saves


def batch_norm_train_backward(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *,
    eps: float,
    mean: np.ndarray,
    var: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of batch_norm_train_forward: dx, dgamma, dbeta; mean and var as it returned them.

    With h = (x - mean) * r and r = 1 / sqrt(var + eps):
    dbeta = sum dy;  dgamma = sum dy * h;  dx = gamma * r * (dy - dbeta / n - h * dgamma / n)
    """
    axes, n = _positions(x)
    r = 1 / np.sqrt(var + eps)
    h = (x - mean) * r
    dbeta = sequential_sum(dy, axes).astype(x.dtype)
    dgamma = sequential_sum(dy * h, axes).astype(x.dtype)
    # mean and var depend on x too: the two subtracted terms are their shares
    dx = gamma * r * (dy - dbeta / n - h * (dgamma / n))
    return dx, dgamma, dbeta


def batch_norm_inference_forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, *, eps: float
) -> np.ndarray:
    """Normalise every channel by stored statistics, in an order that a port can repeat.

    inv = fl(gamma * fl(1 / fl(sqrt(fl(var + eps)))));  shift = fl(beta - fl(mean * inv));  y = fl(fl(x * inv) + shift)

    x : (N, H, W, C)                any float dtype
    gamma, beta, mean, var : (C,)   dtype of x, var >= 0; eps > 0 is rounded to it

    Returns y : (N, H, W, C).
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2.
    """
    inv, shift = batch_norm_scale_shift(gamma, beta, mean, var, eps=eps)
    return x * inv + shift


def batch_norm_scale_shift(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, *, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """(inv, shift) of batch_norm_inference_forward, each (C,); what a convolution that folds the norm takes over."""
    inv = gamma * (1 / np.sqrt(var + var.dtype.type(eps)))
    return inv, beta - mean * inv


def batch_norm_inference_backward(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, None, None]:
    """Gradients of batch_norm_inference_forward: dx, dgamma, dbeta; None for mean and var, which are constants."""
    axes, _ = _positions(x)
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    dgamma = sequential_sum(dy * ((x - mean) * r), axes).astype(x.dtype)
    return dy * (gamma * r), dgamma, sequential_sum(dy, axes).astype(x.dtype), None, None


def moving_statistics(moving: np.ndarray, batch: np.ndarray, momentum: float) -> np.ndarray:
    """The stored statistic after one training step: fl(fl(momentum * moving) + fl((1 - momentum) * batch)).

    moving, batch : (C,)   one dtype; the two factors are rounded to it
    """
    return momentum * moving + (1 - momentum) * batch


def layer_norm_forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, axes: tuple[int, ...], eps: float
) -> np.ndarray:
    """Normalise over any axes, for every index of the others; the reference's are H and W.

    mean = sum(x) / n;  var = sum((x - mean)^2) / n;  both in float64, terms in row-major order over axes, unrounded
    inv = fl(1 / sqrt(var + eps));  scale = fl(inv * gamma);  y = fl(fl(fl(x - fl(mean)) * scale) + beta)

    x : any shape, any float dtype; the same order in float64 and complex128, where fl does nothing
    gamma, beta : the shape of x's normalised axes, in increasing order   dtype of x
    axes : axes of x, negative ones count from the end

    Returns y : the shape of x. One definition under every arithmetic.
    Raises ValueError when gamma or beta has another shape.
    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450, equation 3.
    """
    axes = _increasing(axes, x.ndim)
    gamma, beta = _spread(gamma, x, axes, "gamma"), _spread(beta, x, axes, "beta")
    mean, inv = _layer_statistics(x, axes, eps)
    scale = inv * gamma
    return (x - mean) * scale + beta


def layer_norm_backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, axes: tuple[int, ...], eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of layer_norm_forward: dx, dgamma, dbeta.

    With h = (x - mean) * inv and dh = dy * gamma, sums over the other axes for gamma and beta, over axes for dx:
    dbeta = sum dy;  dgamma = sum dy * h;  dx = inv * (dh - sum(dh) / n - h * sum(dh * h) / n)
    """
    axes = _increasing(axes, x.ndim)
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)
    mean, inv = _layer_statistics(x, axes, eps)
    h = (x - mean) * inv
    dh = dy * _spread(gamma, x, axes, "gamma")
    dx = inv * (dh - _mean(dh, axes).astype(x.dtype) - h * _mean(dh * h, axes).astype(x.dtype))
    return dx, sequential_sum(dy * h, others).astype(x.dtype), sequential_sum(dy, others).astype(x.dtype)


def _positions(x: np.ndarray) -> tuple[tuple[int, ...], int]:
    """The axes of all positions, and how many positions there are."""
    axes, n = tuple(range(x.ndim - 1)), int(np.prod(x.shape[:-1]))
    if n == 0:
        raise ValueError(f"an input of shape {x.shape} has no positions to normalise over")
    return axes, n


def _layer_statistics(x: np.ndarray, axes: tuple[int, ...], eps: float) -> tuple[np.ndarray, np.ndarray]:
    """fl(mean) and fl(1 / sqrt(var + eps)), with axes kept as 1."""
    mean = _mean(x, axes)
    var = _mean((x - mean) ** 2, axes)  # in float64: mean is
    return mean.astype(x.dtype), (1 / np.sqrt(var + eps)).astype(x.dtype)


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mean over axes in float64 (complex128), with axes kept as 1."""
    n = int(np.prod([x.shape[axis] for axis in axes]))
    return np.expand_dims(sequential_sum(x, axes) / n, axes)


def _increasing(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return tuple(sorted(axis % rank for axis in axes))


def _spread(parameter: np.ndarray, x: np.ndarray, axes: tuple[int, ...], name: str) -> np.ndarray:
    """gamma or beta with 1 for every axis of x that is not normalised."""
    expected = tuple(x.shape[axis] for axis in axes)
    if parameter.shape != expected:
        raise ValueError(f"{name} has shape {parameter.shape}, but axes {axes} of x {x.shape} need {expected}")
    return np.expand_dims(parameter, tuple(axis for axis in range(x.ndim) if axis not in axes))
