"""From a raw tensor to the array (N, H, W, C) that the bundle means: types, shapes, layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npunet.verify.dumps import Raw

# How a layout lists the axes of (N, H, W, C).
LAYOUTS = {
    "NHWC": (0, 1, 2, 3),
    "NCHW": (0, 3, 1, 2),
    "NWHC": (0, 2, 1, 3),
    "NCWH": (0, 3, 2, 1),
    "NHCW": (0, 1, 3, 2),
    "NWCH": (0, 2, 3, 1),
    "HWCN": (1, 2, 3, 0),
    "CHWN": (3, 1, 2, 0),
}


def arrange(raw: Raw, record: Mapping[str, Any], layout: str | None = None) -> tuple[np.ndarray, str]:
    """The tensor as (N, H, W, C) of the record's type, and the layout that it was read in.

    layout : key of LAYOUTS, tried first: what the user states or the others have; another one where only that fits

    Raises ValueError with the reason when it does not fit.
    """
    shape, dtype = tuple(record["shape"]), np.dtype(record["dtype"]).newbyteorder("<")
    if isinstance(raw.value, bytes):
        size = record["bytes"]
        if len(raw.value) != size:
            expected = f"{size} are expected for {_told(shape)} {dtype.name}"
            told = _of_another_size(raw.value, size) if dtype.kind == "f" else (
                f"dump {dtype.name}, {dtype.itemsize} bytes a value, and every sample: it has")
            raise ValueError(f"{told} {len(raw.value)} bytes, {expected}")
        value = np.frombuffer(raw.value, dtype)
    else:
        value = _typed(raw.value, dtype)
    if value.size != int(np.prod(shape)):
        raise ValueError(f"has the shape {_told(value.shape)}, expected is {record['layout']} {_told(shape)}")
    if len(shape) != 4:
        if value.ndim != 1 and _squeezed(value.shape) != _squeezed(shape):
            raise ValueError(f"has the shape {_told(value.shape)}, expected is {_told(shape)}")
        return np.ascontiguousarray(value.reshape(shape)), "NHWC"
    for name in dict.fromkeys([layout, *LAYOUTS] if layout else LAYOUTS):
        axes = LAYOUTS[name]
        stored = tuple(shape[axis] for axis in axes)
        if value.ndim == 1 or _squeezed(value.shape) == _squeezed(stored):
            return from_layout(value, shape, name), name
    raise ValueError(f"has the shape {_told(value.shape)}, expected is {record['layout']} {_told(shape)}")


def common_layout(tensors: Sequence[tuple[Raw, Mapping[str, Any]]]) -> str:
    """The layout in which all arrays stand; NHWC where that fits, or where no one layout fits all and it fits most.

    tensors : arrays with a shape, each with its record
    """
    fitting = []
    for raw, record in tensors:
        shape, value = tuple(record["shape"]), raw.value
        if isinstance(value, np.ndarray) and len(shape) == 4 and value.ndim > 1 and value.size == int(np.prod(shape)):
            found = {name for name, axes in LAYOUTS.items()
                     if _squeezed(value.shape) == _squeezed(tuple(shape[axis] for axis in axes))}
            if found:
                fitting.append(found)
    return max(LAYOUTS, key=lambda name: sum(name in found for found in fitting))  # the first of equals


def stored_as(value: np.ndarray, layout: str) -> np.ndarray:
    """What one who expects NHWC reads where a tensor (N, H, W, C) was stored in another layout."""
    return np.ascontiguousarray(value.transpose(LAYOUTS[layout])).reshape(value.shape)


def from_layout(value: np.ndarray, shape: tuple[int, ...], layout: str) -> np.ndarray:
    """Values that stand in another layout, as (N, H, W, C) of the given shape."""
    axes = LAYOUTS[layout]
    stored = value.reshape([shape[axis] for axis in axes])
    return np.ascontiguousarray(stored.transpose(np.argsort(axes)))


def _of_another_size(raw: bytes, size: int) -> str:
    """What bytes are that are not as many as expected, in words that end in "it has"."""
    if len(raw) == 2 * size:
        wide = np.frombuffer(raw, "<f8")
        with np.errstate(all="ignore"):
            narrow = np.frombuffer(raw, "<f4")
            doubles = np.isfinite(wide).all() and ((np.abs(wide) > 1e-30) & (np.abs(wide) < 1e30) | (wide == 0)).all()
        if doubles and not np.isnan(narrow).all():
            return "is float64, 8 bytes a value; dump float32, 4 bytes a value (or .npy, which states its type): it has"
        return "is twice as long (two samples or copies, or 8 bytes a value): it has"
    if 2 * len(raw) == size:
        return "is half as long (float16, bfloat16 or int16, 2 bytes a value? dump float32): it has"
    if 4 * len(raw) == size:
        return "is a quarter as long (int8, 1 byte a value? dump float32): it has"
    if len(raw) > size and len(raw) % size == 0:
        return f"is {len(raw) // size} times as long (several samples or copies): it has"
    return "is truncated: it has" if len(raw) < size else "is too long: it has"


def _typed(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers in the bundle's type; unsigned words are bits. Raises ValueError when a value would change."""
    if value.dtype.kind == "u" and value.dtype.itemsize == dtype.itemsize:
        return value.astype(value.dtype.newbyteorder("<")).view(dtype)
    if dtype.kind == "i" and value.dtype.kind in "iu":
        return value.astype(np.int64)  # as they are: what does not fit the type is a difference like any other
    if value.dtype.kind != dtype.kind:
        raise ValueError(f"holds {value.dtype}, expected is {dtype.name}")
    with np.errstate(all="ignore"):
        typed = value.astype(dtype)
        if value.dtype.itemsize > dtype.itemsize and not np.array_equal(
            typed.astype(value.dtype), value, equal_nan=value.dtype.kind == "f"
        ):
            raise ValueError(f"holds {value.dtype} values that no {dtype.name} has; dump {dtype.name}")
    return typed


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def _told(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"
