"""The operators with which a file computes shapes at run time, computed once for the shapes that it says.

A Keras model that is converted with its batch left open holds them: the new shape of a RESHAPE is put together from
pieces of another tensor's.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from npunet.formats.tflite.flat import FlatOperator, FlatTensor

MOST = 64  # values of a shape's arithmetic
UNREAD_MASKS = ("ellipsis_mask", "new_axis_mask")


class Known(Protocol):
    """What is known of a file's tensors."""

    flats: list[FlatTensor]
    values: dict[int, np.ndarray]


def fold(known: Known, operator: FlatOperator, where: str) -> None:
    """Compute one of SHAPE, STRIDED_SLICE, PACK and CONCATENATION of integers, and remember its value.

    Raises ValueError where an input is not known, and for options that no shape's arithmetic has.
    """
    if operator.code == "SHAPE":
        value = np.array(known.flats[operator.inputs[0]].shape, np.int32)
    else:
        inputs = [_value(known, number, where) for number in operator.inputs]
        value = OPERATORS[operator.code](inputs, operator, where)
    if value.size > MOST:
        raise ValueError(f"{where} gives {value.size} values, too many for a shape")
    known.values[operator.outputs[0]] = value.astype(np.int32)


def reshaped(shape: tuple[int, ...], code: str, wanted: np.ndarray, where: str) -> tuple[int, ...]:
    """What RESHAPE to `wanted` (one size may be -1), or EXPAND_DIMS at the axis `wanted`, makes of a shape."""
    if code == "EXPAND_DIMS":
        axis = int(wanted.reshape(-1)[0]) if wanted.size == 1 else len(shape) + 1
        at = axis if axis >= 0 else len(shape) + 1 + axis
        if not 0 <= at <= len(shape):
            raise ValueError(f"{where} puts an axis at {wanted.tolist()} of {shape}")
        return (*shape[:at], 1, *shape[at:])
    sizes, total = [int(size) for size in wanted.reshape(-1)], _product(shape)
    known = _product([size for size in sizes if size != -1])
    if sizes.count(-1) > 1 or len(sizes) > MOST or min(sizes, default=1) < -1 or known < 1 or total % known:
        raise ValueError(f"{where} makes {tuple(sizes)} of {shape}, which holds other values")
    result = tuple(total // known if size == -1 else size for size in sizes)
    if _product(result) != total:
        raise ValueError(f"{where} makes {tuple(sizes)} of {shape}, which holds other values")
    return result


def _value(known: Known, number: int, where: str) -> np.ndarray:
    if number < 0:
        raise ValueError(f"{where} leaves an input out")
    value = known.values.get(number, known.flats[number].data)
    if value is None or value.dtype.kind != "i" or value.size > MOST:
        raise ValueError(f"{where} reads {known.flats[number].name}, which is no known piece of a shape")
    return value


def _strided_slice(inputs: list[np.ndarray], operator: FlatOperator, where: str) -> np.ndarray:
    values, begin, end, stride = inputs
    masks = operator.options
    if values.ndim != 1 or any(part.shape != (1,) for part in (begin, end, stride)) or (
            any(masks[mask] for mask in UNREAD_MASKS)) or stride[0] == 0:
        raise ValueError(f"{where} slices in a way that no shape's arithmetic does")
    start = None if masks["begin_mask"] & 1 else int(begin[0])
    if masks["shrink_axis_mask"] & 1:
        if start is None or not -values.size <= start < values.size:
            raise ValueError(f"{where} takes piece {start} of {values.size}")
        return np.asarray(values[start])
    return values[slice(start, None if masks["end_mask"] & 1 else int(end[0]), int(stride[0]))]


def _pack(inputs: list[np.ndarray], operator: FlatOperator, where: str) -> np.ndarray:
    if not inputs or any(value.ndim for value in inputs) or operator.options["axis"] not in (0, -1):
        raise ValueError(f"{where} packs in a way that no shape's arithmetic does")
    return np.stack(inputs)


def _concat(inputs: list[np.ndarray], operator: FlatOperator, where: str) -> np.ndarray:
    if not inputs or any(value.ndim != 1 for value in inputs) or operator.options["axis"] not in (0, -1):
        raise ValueError(f"{where} joins in a way that no shape's arithmetic does")
    return np.concatenate(inputs)


def _product(sizes: tuple[int, ...] | list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


OPERATORS = {"STRIDED_SLICE": _strided_slice, "PACK": _pack, "CONCATENATION": _concat}
