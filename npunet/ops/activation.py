"""Activations, each with its gradient; at a kink the gradient is the reference's.

Complex values (for complex-step checks) choose their branch by the real part. NaN stays NaN.
"""

from __future__ import annotations

import numpy as np

from npunet.ops.accumulate import check_arithmetic
from npunet.ops.exponential import expm1_32

LEAKY_SLOPE = float(np.float32(0.2))  # in every dtype: TensorFlow's kernel takes its slope as a float32
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def relu6_forward(x: np.ndarray) -> np.ndarray:
    """Clamp to 0 ... 6: y = min(max(x, 0), 6). A zero comes out as +0.

    x : any shape, any float dtype
    Source: Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10.
    """
    if np.iscomplexobj(x):
        return np.where(x.real <= 0, 0, np.where(x.real >= 6, 6, x))
    y = np.clip(x, 0, 6)
    y += 0  # -0 becomes +0
    return y


def relu6_backward(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Gradient of relu6_forward: dy for 0 < x < 6, else 0; so 0 at exactly 0 and exactly 6."""
    return (np.where((x.real > 0) & (x.real < 6), dy, 0),)


def relu_forward(x: np.ndarray) -> np.ndarray:
    """Clamp below at 0: y = max(x, 0). A zero comes out as +0.

    x : any shape, any float dtype
    Source: Nair & Hinton 2010, Rectified linear units improve restricted Boltzmann machines.
    """
    if np.iscomplexobj(x):
        return np.where(x.real <= 0, 0, x)
    y = np.maximum(x, 0)
    y += 0  # -0 becomes +0
    return y


def relu_backward(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Gradient of relu_forward: dy for x > 0, else 0; so 0 at 0."""
    return (np.where(x.real > 0, dy, 0),)


def leaky_relu_forward(x: np.ndarray) -> np.ndarray:
    """Shrink negative values: y = x for x > 0, fl(0.2 * x) otherwise.

    x : any shape, any float dtype; 0.2 is the float32 nearest to it in all of them, as in the reference
    Source: Maas, Hannun & Ng 2013, Rectifier nonlinearities improve neural network acoustic models.
    """
    return np.where(x.real > 0, x, LEAKY_SLOPE * x)


def leaky_relu_backward(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Gradient of leaky_relu_forward: dy for x > 0, else 0.2 * dy; so 0.2 at 0."""
    return (np.where(x.real > 0, dy, LEAKY_SLOPE * dy),)


def elu_forward(x: np.ndarray, *, arithmetic: str = "any") -> np.ndarray:
    """Bend negative values towards -1: y = x for x > 0, exp(x) - 1 otherwise.

    x : any shape, any float dtype
    arithmetic : seq and seq_fma use the declared exponential in float32

    Source: Clevert, Unterthiner & Hochreiter 2015, arXiv:1511.07289, equation 15 with alpha = 1.
    """
    return np.where(x.real > 0, x, _expm1_of_negative(x, arithmetic))


def elu_backward(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Gradient of elu_forward: dy for x > 0, else exp(x) * dy; so dy at 0."""
    return (np.where(x.real > 0, dy, dy * np.exp(_negative_part(x))),)


def selu_forward(x: np.ndarray, *, arithmetic: str = "any") -> np.ndarray:
    """Self-normalising ELU: y = fl(scale * x) for x > 0, fl(scale_alpha * (exp(x) - 1)) otherwise.

    x : any shape, any float dtype
    scale = 1.0507009873554805, scale_alpha = scale * 1.6732632423543772, each rounded to x's dtype
    arithmetic : seq and seq_fma use the declared exponential in float32

    Source: Klambauer et al. 2017, arXiv:1706.02515, equation 2.
    """
    return np.where(x.real > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * _expm1_of_negative(x, arithmetic))


def selu_backward(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Gradient of selu_forward: scale * dy for x >= 0, else scale_alpha * exp(x) * dy; so 1.0507 * dy at 0."""
    slope = SELU_SCALE * SELU_ALPHA * np.exp(_negative_part(x))
    return (np.where(x.real >= 0, SELU_SCALE * dy, slope * dy),)


def _negative_part(x: np.ndarray) -> np.ndarray:
    """x where its real part is negative, else 0: the branch not taken must not overflow."""
    return np.where(x.real > 0, 0, x)


def _expm1_of_negative(x: np.ndarray, arithmetic: str) -> np.ndarray:
    check_arithmetic(arithmetic, x.dtype)
    declared = arithmetic != "any" and x.dtype == np.float32
    return (expm1_32 if declared else np.expm1)(_negative_part(x))
