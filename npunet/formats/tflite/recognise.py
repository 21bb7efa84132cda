"""From a FlatModel to an integer network: which operators of a .tflite make which node.

Inside, everything is an image (H, W, C); RESHAPE becomes a view where it only adds or removes axes of 1. Nearest
upsampling stands as RESIZE_NEAREST_NEIGHBOR, or for each axis as Keras' RESHAPE, TILE, RESHAPE. QUANTIZE between
integers is a rescale. A converter that leaves the batch open computes shapes at run time (SHAPE, STRIDED_SLICE, PACK);
they are computed here once, for a batch of 1. Everything else is refused with the operator's name and number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npunet.formats.tflite import shape_arithmetic
from npunet.formats.tflite.flat import ACTIVATIONS, DESCRIPTION, SAME, VALID, FlatModel, FlatOperator, FlatTensor
from npunet.formats.tflite.names import layer_of
from npunet.geometry import Pads, Pair, same_pads_2d
from npunet.integer import parameters
from npunet.integer.network import LIMITS, Network, Node, Shape, Tensor, View

ELEMENTWISE = ("ADD", "LEAKY_RELU", "QUANTIZE", "SOFTMAX")  # whose output has their input's shape, whatever is said
WAY_OUT = "export the U-Net alone, with a fixed batch of 1 and full integer quantisation"


@dataclass
class Reading:
    """What has been read so far: which tensor of the network each tensor of the file is.

    flats  : the file's tensors; one whose shape only its operator tells is replaced
    images : by number in the file, the network's tensor
    values : by number, what arithmetic with shapes gives: integers that are known before anything runs
    """

    flat: FlatModel
    lut: str
    flats: list[FlatTensor]
    images: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)


def recognise(flat: FlatModel, name: str, lut: str = "f32") -> Network:
    """The integer network that a file holds.

    name : of the model, where the file has none
    lut  : in which arithmetic the tables of a 16-bit softmax are made, "f32" as TFLite-Micro, "f64" as LiteRT

    Raises ValueError for what no U-Net has, with the operator's name and number.
    """
    for which, numbers in (("input", flat.inputs), ("output", flat.outputs)):
        if len(numbers) != 1:
            raise ValueError(f"it has {len(numbers)} {which}s; a U-Net has one")
    reading = Reading(flat, lut, list(flat.tensors))
    source = flat.tensors[flat.inputs[0]]
    if source.dtype.kind == "f":
        raise ValueError(f"its input ({source.name}) is {source.dtype}: it is a float model or has float ends; "
                         "quantise it with inference_input_type int8, or use npunet.quantize on the float network")
    x = _image(source, "input", f"the input ({source.name})")
    reading.images[flat.inputs[0]] = x
    reading.tensors[x.name] = x
    _remember(reading, flat.inputs[0], x)
    for number, operator in enumerate(flat.operators):
        _read(reading, number, operator)
    if flat.outputs[0] not in reading.images:
        raise ValueError(f"no operator gives its output ({flat.tensors[flat.outputs[0]].name})")
    y = reading.images[flat.outputs[0]]
    scheme = "int8" if x.dtype == "int8" else "int16x8"
    metadata = {key.removeprefix("npunet."): value.decode("utf-8", "replace") for key, value in flat.metadata.items()
                if key.startswith("npunet.")}
    return Network(scheme, metadata.pop("rounding", "D"), x.name, y.name, reading.tensors, tuple(reading.nodes),
                   source.shape[1:], flat.tensors[flat.outputs[0]].shape[1:], reading.views,
                   metadata.pop("name", name), metadata)


def _read(reading: Reading, number: int, operator: FlatOperator) -> None:
    """Add one operator to the network."""
    where = f"operator {number} ({operator.code})"
    reader = READERS.get(operator.code)
    if reader is None:
        raise ValueError(f"{where} is none of those that a U-Net has: {', '.join(sorted(READERS))}; {WAY_OUT}")
    if len(operator.outputs) != 1:
        raise ValueError(f"{where} has {len(operator.outputs)} outputs; it must have one")
    given = operator.outputs[0]
    if given in reading.images or given in reading.values or reading.flats[given].data is not None:
        raise ValueError(f"{where} writes tensor {given}, which has a value already")
    if operator.code in ELEMENTWISE and operator.inputs:
        shape = reading.flats[operator.inputs[0]].shape
        reading.flats[given] = replace(reading.flats[given], shape=shape)
    try:
        reader(reading, operator, where)
    except (KeyError, IndexError):
        raise ValueError(f"{where} has {len(operator.inputs)} inputs, which is not what it takes") from None


def _x(reading: Reading, operator: FlatOperator, where: str, position: int = 0) -> Tensor:
    """An activation that an operator reads."""
    number = operator.inputs[position]
    if number not in reading.images:
        raise ValueError(f"{where} reads tensor {number}, which no operator before it gives")
    return reading.images[number]


def _constant(reading: Reading, operator: FlatOperator, where: str, position: int,
              kinds: tuple[str, ...]) -> tuple[FlatTensor, np.ndarray]:
    """A constant that an operator reads, and its values."""
    number = operator.inputs[position]
    tensor = reading.flats[number]
    data = reading.values.get(number, tensor.data)
    if data is None or tensor.dtype.name not in kinds:
        raise ValueError(f"{where} needs a constant {' or '.join(kinds)} as input {position}; {tensor.name} is "
                         f"{tensor.dtype}{'' if data is not None else ' and no constant'}")
    return tensor, data


def _y(reading: Reading, operator: FlatOperator, where: str, op: str, clamp: str | None = None) -> Tensor:
    """The activation that an operator writes, by its layer's name where the file tells it."""
    number = operator.outputs[0]
    flat = reading.flats[number]
    constants = [reading.flats[i].name for i in operator.inputs if i >= 0 and i not in reading.images]
    inputs = tuple(reading.images[i].name for i in operator.inputs if i in reading.images)
    ours = reading.flat.description == DESCRIPTION  # whose tensors have the layers' names
    layer = flat.name if ours else layer_of((flat.name, *constants), op, clamp is not None, inputs)
    name = layer if layer and layer not in reading.tensors else flat.name or f"tensor {number}"
    if name in reading.tensors:
        name = f"{name} (tensor {number})"
    return _image(flat, name, where)


def _image(flat: FlatTensor, name: str, where: str) -> Tensor:
    """An activation of the file as the network's tensor."""
    if flat.dtype.name not in LIMITS:
        raise ValueError(f"{where}: {flat.name} is {flat.dtype}; activations must be int8 or int16: {WAY_OUT}")
    if flat.scales.size != 1:
        raise ValueError(f"{where}: {flat.name} has {flat.scales.size} scales; an activation has one")
    if len(flat.shape) not in (3, 4) or flat.shape[0] != 1:
        raise ValueError(f"{where}: {flat.name} has shape {flat.shape}; only a batch of 1 with 2 or 3 more axes can be "
                         f"read: {WAY_OUT}")
    return Tensor(name, _shape(flat.shape), flat.dtype.name, float(flat.scales[0]), int(flat.zero_points[0]))


def _shape(shape: tuple[int, ...]) -> Shape:
    """(H, W, C) of a file's shape (1, L, C) or (1, H, W, C)."""
    height, width, channels = (1,) * (4 - len(shape)) + shape[1:]
    return height, width, channels


def _add(reading: Reading, operator: FlatOperator, y: Tensor, node: Node) -> None:
    reading.images[operator.outputs[0]] = y
    reading.tensors[y.name] = y
    reading.nodes.append(replace(node, layers=node.layers or (y.name,)))
    _remember(reading, operator.outputs[0], y)


def _remember(reading: Reading, number: int, source: Tensor) -> None:
    """Keep the file's own name of a tensor, in the file's own shape."""
    flat = reading.flats[number]
    known = flat.name == source.name and flat.shape[1:] == source.shape and number not in reading.flat.inputs
    if flat.name and flat.name not in reading.views and not known:
        reading.views[flat.name] = View(source.name, flat.shape[1:])


def _clamp(operator: FlatOperator, where: str) -> str | None:
    fused = operator.options.get("fused_activation_function", 0)
    if fused not in ACTIVATIONS:
        raise ValueError(f"{where} has the fused activation {fused} of the schema; only none, RELU and RELU6 can be "
                         "read")
    return ACTIVATIONS[fused]


def _window(operator: FlatOperator, where: str, size: Pair, kernel: Pair, dilation: Pair) -> dict[str, Any]:
    """stride, pads and padding of a convolution or a pooling."""
    options = operator.options
    stride = options["stride_h"], options["stride_w"]
    extents = *stride, *kernel, *dilation
    if min(extents) < 1 or max(extents) > 2**15 or options["padding"] not in (SAME, VALID):
        raise ValueError(f"{where} has kernel {kernel}, stride {stride}, dilation {dilation}, padding "
                         f"{options['padding']}, which cannot be")
    same = options["padding"] == SAME
    pads: Pads = same_pads_2d(size, kernel, stride, dilation) if same else ((0, 0), (0, 0))
    return {"stride": stride, "pads": pads, "padding": "same" if same else "valid"}


def _convolution(reading: Reading, operator: FlatOperator, where: str) -> None:
    x, depthwise = _x(reading, operator, where), operator.code == "DEPTHWISE_CONV_2D"
    kernel, stored = _constant(reading, operator, where, 1, ("int8",))
    if len(kernel.shape) != 4:
        raise ValueError(f"{where} has weights of shape {kernel.shape}; they must have four axes")
    bias_type = "int32" if x.dtype == "int8" else "int64"
    channels = kernel.shape[3] if depthwise else kernel.shape[0]
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        _, bias = _constant(reading, operator, where, 2, ("int32", "int64"))
        if bias.shape != (channels,) or bias.dtype != bias_type:
            raise ValueError(f"{where} has a bias of shape {bias.shape} {bias.dtype}; it must be ({channels},) "
                             f"{bias_type}")
    else:
        bias = np.zeros(channels, bias_type)
    if kernel.zero_points.any() or kernel.scales.size not in (1, channels):
        raise ValueError(f"{where} has weights that are not symmetric, or {kernel.scales.size} scales for {channels} "
                         "channels")
    if kernel.scales.size > 1 and kernel.axis != (3 if depthwise else 0):
        raise ValueError(f"{where} has weight scales along axis {kernel.axis}")
    scales = np.broadcast_to(kernel.scales, (channels,))
    if depthwise:
        C = x.shape[2]
        if channels % C or kernel.shape[0] != 1:
            raise ValueError(f"{where} has weights of shape {kernel.shape}, which do not fit {C} channels")
        weights = stored.reshape(*kernel.shape[1:3], C, channels // C)
    else:
        weights = np.ascontiguousarray(stored.transpose(1, 2, 3, 0))
    options, clamp = operator.options, _clamp(operator, where)
    dilation = options["dilation_h_factor"] or 1, options["dilation_w_factor"] or 1
    attrs = _window(operator, where, x.shape[:2], weights.shape[:2], dilation)
    op = "depthwise_conv2d" if depthwise else "conv2d"
    y = _y(reading, operator, where, op, clamp)
    _add(reading, operator, y, parameters.convolution(op, x, y, weights, bias, scales, dilation=dilation, clamp=clamp,
                                                      **attrs))


def _pool(reading: Reading, operator: FlatOperator, where: str) -> None:
    x, clamp = _x(reading, operator, where), _clamp(operator, where)
    window = operator.options["filter_height"], operator.options["filter_width"]
    attrs = _window(operator, where, x.shape[:2], window, (1, 1))
    op = "max_pool2d" if operator.code == "MAX_POOL_2D" else "avg_pool2d"
    y = _y(reading, operator, where, op)
    _add(reading, operator, y, parameters.pooling(op, x, y, window=window, clamp=clamp, **attrs))


def _addition(reading: Reading, operator: FlatOperator, where: str) -> None:
    a, b = _x(reading, operator, where), _x(reading, operator, where, 1)
    if a.shape != b.shape:
        raise ValueError(f"{where} adds shapes {a.shape} and {b.shape}; they must be one")
    if a.dtype == "int16" and operator.options.get("pot_scale_int16") and operator.version < 3:
        raise ValueError(f"{where} adds int16 with scales that are powers of two, an older form that cannot be read")
    clamp = _clamp(operator, where)
    y = _y(reading, operator, where, "add")
    _add(reading, operator, y, parameters.addition(a, b, y, clamp=clamp))


def _concat(reading: Reading, operator: FlatOperator, where: str) -> None:
    if reading.flats[operator.outputs[0]].dtype == np.int32:
        shape_arithmetic.fold(reading, operator, where)
        return
    xs = tuple(_x(reading, operator, where, i) for i in range(len(operator.inputs)))
    axis, rank = operator.options["axis"], len(reading.flats[operator.outputs[0]].shape)
    if axis not in (-1, rank - 1) or not xs or _clamp(operator, where):
        raise ValueError(f"{where} joins {len(xs)} tensors along axis {axis}; only the last axis, without an "
                         "activation, can be read")
    y = _y(reading, operator, where, "concat")
    _add(reading, operator, y, parameters.concatenation(xs, y))


def _resize(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = _x(reading, operator, where)
    _, size = _constant(reading, operator, where, 1, ("int32",))
    if size.shape != (2,) or operator.options["align_corners"]:
        raise ValueError(f"{where} has a size of shape {size.shape} or aligned corners, which cannot be read")
    factor = _factor(where, x.shape, (int(size[0]), int(size[1])))
    y = _y(reading, operator, where, "upsample_nearest2d")
    _add(reading, operator, y, parameters.upsampling(x, y, factor))


def _factor(where: str, shape: Shape, size: Pair) -> Pair:
    if min(size) < 1 or size[0] % shape[0] or size[1] % shape[1]:
        raise ValueError(f"{where} resizes {shape[:2]} to {size}; only whole factors can be read")
    return size[0] // shape[0], size[1] // shape[1]


def _quantize(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = _x(reading, operator, where)
    y = _y(reading, operator, where, "rescale")
    _add(reading, operator, y, parameters.rescaling(x, y))


def _softmax(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = _x(reading, operator, where)
    if operator.options["beta"] != 1:
        raise ValueError(f"{where} has beta {operator.options['beta']:g}; only 1 can be read")
    y = _y(reading, operator, where, "softmax")
    _add(reading, operator, y, parameters.softmaxing(x, y, lut=reading.lut))


def _leaky_relu(reading: Reading, operator: FlatOperator, where: str) -> None:
    x, slope = _x(reading, operator, where), operator.options["alpha"]
    if not 0 <= slope <= 1:
        raise ValueError(f"{where} has slope {slope!r}; it must be 0 to 1")
    y = _y(reading, operator, where, "leaky_relu")
    _add(reading, operator, y, parameters.leaky_relu(x, y, slope))


def _reshape(reading: Reading, operator: FlatOperator, where: str) -> None:
    """A view: axes of 1 come and go, or TILE's axis joins the one before it."""
    x, given = _x(reading, operator, where), operator.outputs[0]
    if operator.code == "EXPAND_DIMS" or len(operator.inputs) > 1:
        shape = shape_arithmetic.reshaped(reading.flats[operator.inputs[0]].shape, operator.code,
                                          _constant(reading, operator, where, 1, ("int32", "int64"))[1], where)
        reading.flats[given] = replace(reading.flats[given], shape=shape)
    flat = reading.flats[given]
    _same_meaning(where, x, flat)
    image = _untiled(flat.shape)[0] if len(flat.shape) > 4 else _shape(flat.shape) if flat.shape[:1] == (1,) else None
    if image != x.shape:
        raise ValueError(f"{where} makes {flat.shape} of an image {x.shape}; only axes of 1 may come and go: {WAY_OUT}")
    reading.images[given] = x
    _remember(reading, given, x)


def _tile(reading: Reading, operator: FlatOperator, where: str) -> None:
    """Nearest upsampling along one axis: the axis of 1 behind it, which RESHAPE made, is repeated."""
    x, flat = _x(reading, operator, where), reading.flats[operator.outputs[0]]
    before = reading.flats[operator.inputs[0]].shape
    repeats = tuple(_constant(reading, operator, where, 1, ("int32", "int64"))[1].reshape(-1).tolist())
    image, axis = _untiled(before)
    if image != x.shape or len(repeats) != 5 or any(n != 1 for i, n in enumerate(repeats) if i != axis) or (
            flat.shape != tuple(a * b for a, b in zip(before, repeats, strict=True))):
        raise ValueError(f"{where} repeats {before} by {repeats} to {flat.shape}, which is no part of a nearest "
                         f"upsampling (RESHAPE, TILE, RESHAPE); {WAY_OUT}")
    _same_meaning(where, x, flat)
    factor = (repeats[2], 1) if axis == 2 else (1, repeats[3])
    shape = x.shape[0] * factor[0], x.shape[1] * factor[1], x.shape[2]
    y = replace(x, name=_tiled_name(reading, operator), shape=shape)
    _add(reading, operator, y, parameters.upsampling(x, y, factor))


def _untiled(shape: tuple[int, ...]) -> tuple[Shape | None, int]:
    """The image (H, W, C) that (1, H, 1, W, C) or (1, H, W, 1, C) stands for, and its axis of 1."""
    if len(shape) == 5 and shape[0] == 1 and shape[3] == 1:
        return (shape[1], shape[2], shape[4]), 3
    if len(shape) == 5 and shape[0] == 1 and shape[2] == 1:
        return (shape[1], shape[3], shape[4]), 2
    return None, 0


def _tiled_name(reading: Reading, operator: FlatOperator) -> str:
    """The layer's name for the last TILE of an upsampling, "<layer>/rows" for one before it."""
    name = reading.flats[operator.outputs[0]].name
    layer = layer_of((name,), "upsample_nearest2d", False, ())
    later = reading.flat.operators[reading.flat.operators.index(operator) + 1 :]
    if layer and any(layer_of((reading.flats[o.outputs[0]].name,), "upsample_nearest2d", False, ()) == layer
                     for o in later if o.code == "TILE" and o.outputs):
        layer = f"{layer}/rows"
    return layer if layer and layer not in reading.tensors else f"{name} (tensor {operator.outputs[0]})"


def _same_meaning(where: str, x: Tensor, flat: FlatTensor) -> None:
    if flat.dtype != x.dtype or flat.scales.size != 1 or (
            (float(flat.scales[0]), int(flat.zero_points[0])) != (x.scale, x.zero_point)):
        raise ValueError(f"{where} copies integers from one type or scale to another; requantise before it")


READERS: dict[str, Callable[[Reading, FlatOperator, str], None]] = {
    "ADD": _addition, "AVERAGE_POOL_2D": _pool, "CONCATENATION": _concat, "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution, "EXPAND_DIMS": _reshape, "LEAKY_RELU": _leaky_relu, "MAX_POOL_2D": _pool,
    "PACK": shape_arithmetic.fold, "QUANTIZE": _quantize, "RESHAPE": _reshape, "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SHAPE": shape_arithmetic.fold, "SOFTMAX": _softmax, "STRIDED_SLICE": shape_arithmetic.fold, "TILE": _tile,
}
