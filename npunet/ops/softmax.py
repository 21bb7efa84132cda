"""Softmax over the last axis, forward and backward."""

from __future__ import annotations

import numpy as np

from npunet.ops.accumulate import check_arithmetic
from npunet.ops.exponential import exp32


def softmax_forward(x: np.ndarray, *, arithmetic: str = "any") -> np.ndarray:
    """Turn scores into probabilities.

    y[..., k] = exp(x[..., k] - m) / sum over l of exp(x[..., l] - m),   m = max over l of x[..., l]

    x : (..., K)   any float dtype; the maximum of complex values is taken by real part
    arithmetic : under seq and seq_fma, in float32, e = exp(fl(x - m)) is the declared exponential,
        s = fl(s + e[k]) for k = 0 ... K-1 from s = +0, and y = fl(e / s)

    Returns y : (..., K).
    Source: Bridle 1990, Probabilistic interpretation of feedforward classification network outputs.
    """
    check_arithmetic(arithmetic, x.dtype)
    shifted = x - _largest(x)
    if arithmetic == "any":
        e = np.exp(shifted)
        return e / e.sum(-1, keepdims=True)
    e = exp32(shifted) if x.dtype == np.float32 else np.exp(shifted)
    s = np.zeros_like(e[..., :1])
    for k in range(x.shape[-1]):
        s = s + e[..., k : k + 1]
    return e / s


def softmax_backward(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Gradient of softmax_forward: dx = y * (dy - sum(dy * y))."""
    y = softmax_forward(x)
    return (y * (dy - (dy * y).sum(-1, keepdims=True)),)


def _largest(x: np.ndarray) -> np.ndarray:
    """The entry with the largest real part, (..., 1)."""
    if not np.iscomplexobj(x):
        return x.max(-1, keepdims=True)
    return np.take_along_axis(x, x.real.argmax(-1)[..., None], -1)
