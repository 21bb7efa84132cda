"""Nearest upsampling as a file has it: RESIZE_NEAREST_NEIGHBOR, or RESHAPE, TILE, RESHAPE for each axis."""

from __future__ import annotations

from dataclasses import replace

from npunet.formats.tflite import shape_arithmetic
from npunet.formats.tflite.flat import FlatOperator
from npunet.formats.tflite.reading import Reading, activation, add, constant, image_shape, output, remember
from npunet.geometry import Pair
from npunet.integer.network import Shape


def resize(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = activation(reading, operator, where)
    _, size = constant(reading, operator, where, 1, ("int32",))
    if size.shape != (2,) or operator.options["align_corners"]:
        raise ValueError(f"{where} has a size of shape {size.shape} or aligned corners, which cannot be read")
    factor = _factor(where, x.shape, (int(size[0]), int(size[1])))
    y = output(reading, operator, where, "upsample_nearest2d")
    add(reading, operator, y, reading.kind.upsampling(x, y, factor))


def _factor(where: str, shape: Shape, size: Pair) -> Pair:
    if min(size) < 1 or size[0] % shape[0] or size[1] % shape[1]:
        raise ValueError(f"{where} resizes {shape[:2]} to {size}; only whole factors can be read")
    return size[0] // shape[0], size[1] // shape[1]


def reshape(reading: Reading, operator: FlatOperator, where: str) -> None:
    """A view: axes of 1 come and go, or TILE's axis joins the one before it."""
    x, given = activation(reading, operator, where), operator.outputs[0]
    if operator.code == "EXPAND_DIMS" or len(operator.inputs) > 1:
        shape = shape_arithmetic.reshaped(reading.flats[operator.inputs[0]].shape, operator.code,
                                          constant(reading, operator, where, 1, ("int32", "int64"))[1], where)
        reading.flats[given] = replace(reading.flats[given], shape=shape, unsettled=())
    flat = reading.flats[given]
    reading.kind.same_meaning(where, x, flat)
    image = _untiled(flat.shape)[0] if len(flat.shape) > 4 else image_shape(flat, where, reading.kind.way_out)
    if image != x.shape:
        raise ValueError(f"{where} makes {flat.shape} of an image {x.shape}; only axes of 1 may come and go: "
                         f"{reading.kind.way_out}")
    reading.images[given] = x
    remember(reading, given, x)


def tile(reading: Reading, operator: FlatOperator, where: str) -> None:
    """Nearest upsampling along one axis: the axis of 1 behind it, which RESHAPE made, is repeated."""
    x, flat = activation(reading, operator, where), reading.flats[operator.outputs[0]]
    before = reading.flats[operator.inputs[0]].shape
    repeats = tuple(constant(reading, operator, where, 1, ("int32", "int64"))[1].reshape(-1).tolist())
    image, axis = _untiled(before)
    if len(repeats) == len(before) == 5 and before[2] == before[3] == 1 and repeats[2] != 1:
        axis = 2  # of two axes of 1, the one that is repeated
    if flat.unsettled and len(repeats) == len(before):
        shape = tuple(a * b for a, b in zip(before, repeats, strict=True))
        flat = reading.flats[operator.outputs[0]] = replace(flat, shape=shape, unsettled=())
    if image != x.shape or len(repeats) != 5 or any(n != 1 for i, n in enumerate(repeats) if i != axis) or (
            flat.shape != tuple(a * b for a, b in zip(before, repeats, strict=True))):
        raise ValueError(f"{where} repeats {before} by {repeats} to {flat.shape}, which is no part of a nearest "
                         f"upsampling (RESHAPE, TILE, RESHAPE); {reading.kind.way_out}")
    reading.kind.same_meaning(where, x, flat)
    factor = (repeats[2], 1) if axis == 2 else (1, repeats[3])
    tiled = x.shape[0] * factor[0], x.shape[1] * factor[1], x.shape[2]
    y = replace(x, name=reading.kind.tiled_name(reading, operator), shape=tiled)
    add(reading, operator, y, reading.kind.upsampling(x, y, factor))


def _untiled(shape: tuple[int, ...]) -> tuple[Shape | None, int]:
    """The image (H, W, C) that (1, H, 1, W, C) or (1, H, W, 1, C) stands for, and its axis of 1."""
    if len(shape) == 5 and shape[0] == 1 and shape[3] == 1:
        return (shape[1], shape[2], shape[4]), 3
    if len(shape) == 5 and shape[0] == 1 and shape[2] == 1:
        return (shape[1], shape[3], shape[4]), 2
    return None, 0
