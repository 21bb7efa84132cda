"""From a FlatModel to an integer network: which operators of a .tflite make which node.

Inside, everything is an image (H, W, C); RESHAPE becomes a view where it only adds or removes axes of 1. Nearest
upsampling stands as RESIZE_NEAREST_NEIGHBOR, or as Keras' RESHAPE, TILE, RESHAPE. QUANTIZE between integers is a
rescale. Everything else is refused with the operator's name and number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npunet.formats.tflite.flat import ACTIVATIONS, SAME, VALID, FlatModel, FlatOperator, FlatTensor
from npunet.formats.tflite.names import layer_of
from npunet.geometry import Pads, Pair, same_pads_2d
from npunet.integer import parameters
from npunet.integer.network import LIMITS, Network, Node, Shape, Tensor, View

WAY_OUT = "export the U-Net alone, with a fixed batch of 1 and full integer quantisation"


@dataclass
class Reading:
    """What has been read so far: which tensor of the network each tensor of the file is.

    images : by number in the file, the network's tensor
    tiles  : by number, a tensor of rank 5 on its way through RESHAPE, TILE: (its source, factors so far)
    """

    flat: FlatModel
    lut: str
    images: dict[int, Tensor] = field(default_factory=dict)
    tiles: dict[int, tuple[Tensor, Pair]] = field(default_factory=dict)
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
    reading = Reading(flat, lut)
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
    if given in reading.images or given in reading.tiles or reading.flat.tensors[given].data is not None:
        raise ValueError(f"{where} writes tensor {given}, which has a value already")
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
              kinds: tuple[str, ...]) -> FlatTensor:
    """A constant that an operator reads."""
    tensor = reading.flat.tensors[operator.inputs[position]]
    if tensor.data is None or tensor.dtype.name not in kinds:
        raise ValueError(f"{where} needs a constant {' or '.join(kinds)} as input {position}; {tensor.name} is "
                         f"{tensor.dtype}{'' if tensor.data is not None else ' and no constant'}")
    return tensor


def _y(reading: Reading, operator: FlatOperator, where: str, kind: str, clamp: str | None = None) -> Tensor:
    """The activation that an operator writes, by its layer's name where the file tells it."""
    number = operator.outputs[0]
    flat = reading.flat.tensors[number]
    layer = layer_of(flat.name, kind, clamp is not None)
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
    flat = reading.flat.tensors[number]
    shape = flat.shape[1:]
    if flat.name and flat.name not in reading.views and (flat.name != source.name or shape != source.shape):
        reading.views[flat.name] = View(source.name, shape)


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
    kernel = _constant(reading, operator, where, 1, ("int8",))
    if len(kernel.shape) != 4:
        raise ValueError(f"{where} has weights of shape {kernel.shape}; they must have four axes")
    bias_type = "int32" if x.dtype == "int8" else "int64"
    channels = kernel.shape[3] if depthwise else kernel.shape[0]
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        bias = _constant(reading, operator, where, 2, ("int32", "int64")).data
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
        weights = kernel.data.reshape(*kernel.shape[1:3], C, channels // C)
    else:
        weights = np.ascontiguousarray(kernel.data.transpose(1, 2, 3, 0))
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
    xs = tuple(_x(reading, operator, where, i) for i in range(len(operator.inputs)))
    axis, rank = operator.options["axis"], len(reading.flat.tensors[operator.outputs[0]].shape)
    if axis not in (-1, rank - 1) or not xs or _clamp(operator, where):
        raise ValueError(f"{where} joins {len(xs)} tensors along axis {axis}; only the last axis, without an "
                         "activation, can be read")
    y = _y(reading, operator, where, "concat")
    _add(reading, operator, y, parameters.concatenation(xs, y))


def _resize(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = _x(reading, operator, where)
    size = _constant(reading, operator, where, 1, ("int32",))
    if size.data.shape != (2,) or operator.options["align_corners"]:
        raise ValueError(f"{where} has a size of shape {size.data.shape} or aligned corners, which cannot be read")
    factor = _factor(where, x.shape, (int(size.data[0]), int(size.data[1])))
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
    """A view; or the beginning, the middle or the end of an upsampling by TILE."""
    number, given = operator.inputs[0], operator.outputs[0]
    flat = reading.flat.tensors[given]
    if number in reading.tiles:
        source, factor = reading.tiles[number]
        H, W, C = source.shape
        if len(flat.shape) == 5 and flat.shape[0] == 1:  # on to the next axis
            _tile_axis(where, flat.shape, (H * factor[0], W * factor[1], C))
            reading.tiles[given] = source, factor
            return
        y = _y(reading, operator, where, "upsample_nearest2d")
        if y.shape != (H * factor[0], W * factor[1], C):
            raise ValueError(f"{where} makes {y.shape} of an upsampling that gives {(H * factor[0], W * factor[1], C)}")
        _add(reading, operator, y, parameters.upsampling(source, y, factor))
        return
    x = _x(reading, operator, where)
    if len(flat.shape) == 5:
        _tile_axis(where, flat.shape, x.shape)
        _same_meaning(where, x, flat)
        reading.tiles[given] = x, (1, 1)
    else:
        y = _image(flat, x.name, where)
        parameters.same_scale("reshape", y, x)
        if y.shape != x.shape:
            raise ValueError(f"{where} makes {flat.shape} of {x.shape}; only axes of 1 may come and go")
        reading.images[given] = x
    _remember(reading, given, x) if len(flat.shape) != 5 else reading.views.setdefault(
        flat.name, View(x.name, flat.shape[1:]))


def _tile(reading: Reading, operator: FlatOperator, where: str) -> None:
    """The middle of an upsampling: the axis of 1 behind height or width is repeated."""
    if operator.inputs[0] not in reading.tiles:
        raise ValueError(f"{where} is no part of a nearest upsampling (RESHAPE, TILE, RESHAPE); {WAY_OUT}")
    source, factor = reading.tiles[operator.inputs[0]]
    shape = reading.flat.tensors[operator.inputs[0]].shape
    repeats = _constant(reading, operator, where, 1, ("int32", "int64")).data.reshape(-1).tolist()
    axis = _tile_axis(where, shape, (source.shape[0] * factor[0], source.shape[1] * factor[1], source.shape[2]))
    if len(repeats) != 5 or any(times != 1 for i, times in enumerate(repeats) if i != axis) or repeats[axis] < 1:
        raise ValueError(f"{where} repeats {shape} by {repeats}, which is no nearest upsampling; {WAY_OUT}")
    flat = reading.flat.tensors[operator.outputs[0]]
    if flat.shape != tuple(extent * times for extent, times in zip(shape, repeats, strict=True)):
        raise ValueError(f"{where} has an output of shape {flat.shape}")
    _same_meaning(where, source, flat)
    factor = (factor[0] * repeats[2], factor[1]) if axis == 2 else (factor[0], factor[1] * repeats[3])
    reading.tiles[operator.outputs[0]] = source, factor


def _tile_axis(where: str, shape: tuple[int, ...], image: Shape) -> int:
    """Which axis of (1, H, 1, W, C) or (1, H, W, 1, C) is to be repeated."""
    H, W, C = image
    if shape == (1, H, W, 1, C):
        return 3
    if shape == (1, H, 1, W, C):
        return 2
    raise ValueError(f"{where} makes {shape} of {image}, which is no part of a nearest upsampling; {WAY_OUT}")


def _same_meaning(where: str, x: Tensor, flat: FlatTensor) -> None:
    if flat.scales.size != 1 or (float(flat.scales[0]), int(flat.zero_points[0])) != (x.scale, x.zero_point):
        raise ValueError(f"{where} copies integers from one scale to another; requantise before it")


READERS: dict[str, Callable[[Reading, FlatOperator, str], None]] = {
    "ADD": _addition, "AVERAGE_POOL_2D": _pool, "CONCATENATION": _concat, "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution, "LEAKY_RELU": _leaky_relu, "MAX_POOL_2D": _pool, "QUANTIZE": _quantize,
    "RESHAPE": _reshape, "RESIZE_NEAREST_NEIGHBOR": _resize, "SOFTMAX": _softmax, "TILE": _tile,
}
