"""Where branches meet and where elements are dropped: concat, add, dropout."""

from __future__ import annotations

import numpy as np


def concat_forward(*tensors: np.ndarray) -> np.ndarray:
    """Join tensors along the last axis, in the order given.

    y[..., :C1] = tensors[0];  y[..., C1:C1+C2] = tensors[1];  ...

    tensors : (..., C1), (..., C2), ...   equal in every other axis

    Returns y : (..., C1 + C2 + ...). Nothing is rounded.
    Raises ValueError when the other axes differ.
    """
    shapes = [tensor.shape for tensor in tensors]
    if len({shape[:-1] for shape in shapes}) != 1:
        raise ValueError(f"tensors of shapes {', '.join(map(str, shapes))} differ in more than the last axis")
    return np.concatenate(tensors, axis=-1)


def concat_backward(dy: np.ndarray, *tensors: np.ndarray) -> tuple[np.ndarray, ...]:
    """Gradients of concat_forward: the slice of dy that each tensor filled."""
    ends = np.cumsum([tensor.shape[-1] for tensor in tensors])
    return tuple(np.split(dy, ends[:-1], axis=-1))


def add_forward(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Add two tensors of one shape: y = fl(a + b).

    Raises ValueError when the shapes differ (nothing is broadcast).
    """
    if a.shape != b.shape:
        raise ValueError(f"cannot add tensors of shapes {a.shape} and {b.shape}: they must be equal")
    return a + b


def add_backward(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of add_forward: dy for both."""
    return dy, dy


def dropout_forward(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Drop elements and scale up the rest: y = x * mask.

    x : any shape, any float dtype
    mask : shape and dtype of x; 0 where an element is dropped, 1 / (1 - rate) where it is kept

    At inference there is no dropout: leave the operator out. The mask is drawn by the caller.
    Raises ValueError when the shapes differ.
    Source: Srivastava et al. 2014, Dropout, JMLR 15; scaled in training ("inverted") as Keras does.
    """
    if x.shape != mask.shape:
        raise ValueError(f"a mask of shape {mask.shape} does not fit x of shape {x.shape}: one value for every element")
    return x * mask


def dropout_backward(dy: np.ndarray, x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, None]:
    """Gradients of dropout_forward: dy * mask for x, None for the mask, which is a constant."""
    return dy * mask, None


def dropout_inference_forward(x: np.ndarray, *, rate: float) -> np.ndarray:
    """Dropout outside training: x itself, whatever the rate."""
    return x


def dropout_inference_backward(dy: np.ndarray, x: np.ndarray, *, rate: float) -> tuple[np.ndarray]:
    """Gradient of dropout_inference_forward: dx = dy."""
    return (dy,)
