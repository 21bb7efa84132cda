"""From a FlatModel to an integer network: which operators of a .tflite make which node.

Inside, everything is an image (H, W, C); RESHAPE becomes a view where it only adds or removes axes of 1. Nearest
upsampling stands as RESIZE_NEAREST_NEIGHBOR, or for each axis as Keras' RESHAPE, TILE, RESHAPE. QUANTIZE between
integers is a rescale. A converter that leaves the batch open computes shapes at run time (SHAPE, STRIDED_SLICE, PACK);
they are computed here once, for a batch of 1. Everything else is refused with the operator's name and number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npunet.formats.tflite import shape_arithmetic
from npunet.formats.tflite.ends import between_ends
from npunet.formats.tflite.flat import ACTIVATIONS, SAME, VALID, FlatModel, FlatOperator
from npunet.formats.tflite.integers import Integers
from npunet.formats.tflite.reading import Reading, activation, add, begun, constant, output, result, told
from npunet.formats.tflite.upsampling import reshape, resize, tile
from npunet.geometry import Pads, Pair, same_pads_2d
from npunet.integer.network import LIMITS, Network

Reader = Callable[[Reading, FlatOperator, str], None]
ELEMENTWISE = ("ADD", "LEAKY_RELU", "QUANTIZE", "SOFTMAX", "RELU", "RELU6", "ELU", "SELU", "LAYER_NORM")
# whose output has their input's shape, whatever is said


def recognise(flat: FlatModel, name: str, lut: str = "f32") -> Network:
    """The integer network that a file holds.

    name : of the model, where the file has none
    lut  : in which arithmetic the tables of a 16-bit softmax are made; see Integers

    Raises ValueError for what no U-Net has, with the operator's name and number.
    """
    refuse_many_ends(flat)
    flat, ends = between_ends(flat)
    source = flat.tensors[flat.inputs[0]]
    if source.dtype.name not in LIMITS:
        raise ValueError(f"its input ({source.name}) is {source.dtype}: it is a float model, or has float operators at "
                         "its beginning, as no QUANTIZE makes int8 or int16 of it; npunet.load reads a float network, "
                         "and npunet.quantize makes an integer one of it")
    reading = begun(flat, Integers(lut))
    read_operators(reading, [(f"operator {number} ({operator.code})", operator)
                             for number, operator in enumerate(flat.operators) if number not in ends], READERS)
    x, y = reading.tensors["input"], result(reading)
    scheme = "int8" if x.dtype == "int8" else "int16x8"
    metadata = told(flat)
    return Network(scheme, metadata.pop("rounding", "D"), x.name, y.name, reading.tensors, tuple(reading.nodes),
                   source.shape[1:], reading.flats[flat.outputs[0]].shape[1:], reading.views,
                   metadata.pop("name", name), metadata)


def refuse_many_ends(flat: FlatModel) -> None:
    """Raise ValueError unless a file has one input and one output."""
    for which, numbers in (("input", flat.inputs), ("output", flat.outputs)):
        if len(numbers) != 1:
            raise ValueError(f"it has {len(numbers)} {which}s; a U-Net has one")


def read_operators(reading: Reading, operators: Sequence[tuple[str, FlatOperator]],
                   readers: Mapping[str, Reader]) -> None:
    """Add operators to a network, one after another, each with what it is called in a message."""
    for where, operator in operators:
        _read(reading, where, operator, readers)


def _read(reading: Reading, where: str, operator: FlatOperator, readers: Mapping[str, Reader]) -> None:
    """Add one operator to the network."""
    reader = readers.get(operator.code)
    if reader is None:
        raise ValueError(f"{where} is none of those that a U-Net has: {', '.join(sorted(readers))}; "
                         f"{reading.kind.way_out}")
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
    except ValueError as error:
        if str(error).startswith(where):
            raise
        raise ValueError(f"{where}: {error}") from None


def clamp_of(operator: FlatOperator, where: str) -> str | None:
    """The activation that is fused into an operator. Raises ValueError for one that no network here has."""
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
    if "pads" in options:
        return {"stride": stride, "pads": options["pads"], "padding": "explicit"}
    same = options["padding"] == SAME
    pads: Pads = same_pads_2d(size, kernel, stride, dilation) if same else ((0, 0), (0, 0))
    return {"stride": stride, "pads": pads, "padding": "same" if same else "valid"}


def _convolution(reading: Reading, operator: FlatOperator, where: str) -> None:
    x, depthwise = activation(reading, operator, where), operator.code == "DEPTHWISE_CONV_2D"
    kernel, stored = constant(reading, operator, where, 1, reading.kind.weights)
    if len(kernel.shape) != 4:
        raise ValueError(f"{where} has weights of shape {kernel.shape}; they must have four axes")
    channels = kernel.shape[3] if depthwise else kernel.shape[0]
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        _, bias = constant(reading, operator, where, 2, reading.kind.biases(x))
        if bias.shape != (channels,):
            raise ValueError(f"{where} has a bias of shape {bias.shape}; it must be ({channels},)")
    else:
        bias = reading.kind.no_bias(x, channels, where)
    if depthwise:
        C = x.shape[2]
        if channels % C or kernel.shape[0] != 1:
            raise ValueError(f"{where} has weights of shape {kernel.shape}, which do not fit {C} channels")
        weights = stored.reshape(*kernel.shape[1:3], C, channels // C)
    else:
        weights = np.ascontiguousarray(stored.transpose(1, 2, 3, 0))
    options, clamp = operator.options, clamp_of(operator, where)
    dilation = options["dilation_h_factor"] or 1, options["dilation_w_factor"] or 1
    attrs = _window(operator, where, x.shape[:2], weights.shape[:2], dilation)
    op = "depthwise_conv2d" if depthwise else "conv2d"
    y = output(reading, operator, where, op, clamp)
    add(reading, operator, y, reading.kind.convolution(op, x, y, weights, bias, kernel, where, dilation=dilation,
                                                       clamp=clamp, **attrs))


def _pool(reading: Reading, operator: FlatOperator, where: str) -> None:
    x, clamp = activation(reading, operator, where), clamp_of(operator, where)
    window = operator.options["filter_height"], operator.options["filter_width"]
    attrs = _window(operator, where, x.shape[:2], window, (1, 1))
    op = "max_pool2d" if operator.code == "MAX_POOL_2D" else "avg_pool2d"
    y = output(reading, operator, where, op)
    add(reading, operator, y, reading.kind.pooling(op, x, y, window=window, clamp=clamp, **attrs))


def _addition(reading: Reading, operator: FlatOperator, where: str) -> None:
    a, b = activation(reading, operator, where), activation(reading, operator, where, 1)
    if a.shape != b.shape:
        raise ValueError(f"{where} adds shapes {a.shape} and {b.shape}; they must be one")
    if a.dtype == "int16" and operator.options.get("pot_scale_int16") and operator.version < 3:
        raise ValueError(f"{where} adds int16 with scales that are powers of two, an older form that cannot be read")
    clamp = clamp_of(operator, where)
    y = output(reading, operator, where, "add")
    add(reading, operator, y, reading.kind.addition(a, b, y, clamp=clamp))


def _concat(reading: Reading, operator: FlatOperator, where: str) -> None:
    if reading.flats[operator.outputs[0]].dtype == np.int32:
        shape_arithmetic.fold(reading, operator, where)
        return
    xs = tuple(activation(reading, operator, where, i) for i in range(len(operator.inputs)))
    axis, rank = operator.options["axis"], len(reading.flats[operator.outputs[0]].shape)
    if axis not in (-1, rank - 1) or not xs or clamp_of(operator, where):
        raise ValueError(f"{where} joins {len(xs)} tensors along axis {axis}; only the last axis, without an "
                         "activation, can be read")
    y = output(reading, operator, where, "concat")
    add(reading, operator, y, reading.kind.concatenation(xs, y))


def _quantize(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = activation(reading, operator, where)
    y = output(reading, operator, where, "rescale")
    assert isinstance(reading.kind, Integers), "of integers alone"
    add(reading, operator, y, reading.kind.rescaling(x, y))


def _softmax(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = activation(reading, operator, where)
    if operator.options["beta"] != 1:
        raise ValueError(f"{where} has beta {operator.options['beta']:g}; only 1 can be read")
    y = output(reading, operator, where, "softmax")
    add(reading, operator, y, reading.kind.softmaxing(x, y))


def _leaky_relu(reading: Reading, operator: FlatOperator, where: str) -> None:
    x, slope = activation(reading, operator, where), operator.options["alpha"]
    if not 0 <= slope <= 1:
        raise ValueError(f"{where} has slope {slope!r}; it must be 0 to 1")
    y = output(reading, operator, where, "leaky_relu")
    add(reading, operator, y, reading.kind.leaky_relu(x, y, slope))


SHARED: dict[str, Reader] = {
    "ADD": _addition, "CONCATENATION": _concat, "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _convolution,
    "EXPAND_DIMS": reshape, "LEAKY_RELU": _leaky_relu, "MAX_POOL_2D": _pool, "PACK": shape_arithmetic.fold,
    "RESHAPE": reshape, "RESIZE_NEAREST_NEIGHBOR": resize, "SHAPE": shape_arithmetic.fold, "SOFTMAX": _softmax,
    "STRIDED_SLICE": shape_arithmetic.fold, "TILE": tile,
}  # by networks of integers and of floats
READERS: dict[str, Reader] = {**SHARED, "AVERAGE_POOL_2D": _pool, "QUANTIZE": _quantize}
