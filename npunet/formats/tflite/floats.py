"""Real numbers as those of a network that is read, and the operators that only a file of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npunet.formats.tflite.composites import Simplified
from npunet.formats.tflite.flat import FlatOperator, FlatTensor
from npunet.formats.tflite.reading import Reading, activation, add, begun, constant, image_shape, output, result
from npunet.formats.tflite.recognise import SHARED, Reader, clamp_of, read_operators
from npunet.formats.tflite.within import Formula
from npunet.geometry import Pair
from npunet.graph import Graph, Node, WeightSpec
from npunet.graph_check import SHAPES
from npunet.integer.network import Shape, View
from npunet.ops.activation import LEAKY_SLOPE

LINEAR = "{} before its activation"  # the tensor between an operator and the activation that is fused into it


@dataclass(frozen=True)
class Real:
    """An activation of real numbers, as an image (H, W, C)."""

    name: str
    shape: Shape
    dtype: str = "float32"


@dataclass(frozen=True)
class FloatFile:
    """What a file of floats holds: a graph whose nodes are called after the file's tensors, and its weights.

    where       : by node, the operators of the file that it stands for
    views       : by the file's name of a tensor, the node and the file's shape without the batch
    within      : by the file's name of a tensor within a layer norm or SELU, the node that it begins with, its formula
    input_shape : of one sample
    """

    graph: Graph
    weights: Mapping[str, np.ndarray]
    where: Mapping[str, str]
    views: Mapping[str, View]
    within: Mapping[str, tuple[str, Formula]]
    input_shape: tuple[int, ...]


@dataclass
class Floats:
    """The kind of a float network; what its methods are, reading.Kind says."""

    way_out: str = "export the U-Net alone, with a fixed batch of 1, as float32 or with full integer quantisation"
    weights: tuple[str, ...] = ("float32",)
    values: dict[str, np.ndarray] = field(default_factory=dict)  # the weights of the nodes so far
    clamps: dict[str, str] = field(default_factory=dict)  # activations that are fused into nodes

    def image(self, flat: FlatTensor, name: str, where: str) -> Real:
        if flat.dtype != np.float32:
            raise ValueError(f"{where}: {flat.name} is {flat.dtype} in a file whose input is float32; convert the "
                             "network with full integer quantisation, or with none")
        return Real(name, image_shape(flat, where, self.way_out))

    def name(self, reading: Reading, operator: FlatOperator, op: str, clamp: str | None) -> str:
        return self.tiled_name(reading, operator)

    def tiled_name(self, reading: Reading, operator: FlatOperator) -> str:
        return f"tensor {operator.outputs[0]}"

    def same_meaning(self, where: str, x: Real, flat: FlatTensor) -> None:
        if flat.dtype != np.float32:
            raise ValueError(f"{where} copies float32 to {flat.dtype}")

    def shape_of(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        rule = SHAPES[node.op][0]
        height, width, channels = rule(node.attrs, shapes, [self.values[name].shape for name in node.weights])
        return height, width, channels

    def biases(self, x: Real) -> tuple[str, ...]:
        return ("float32",)

    def no_bias(self, x: Real, channels: int, where: str) -> np.ndarray:
        return np.zeros(channels, np.float32)

    def convolution(self, op: str, x: Real, y: Real, weights: np.ndarray, bias: np.ndarray, stored: FlatTensor,
                    where: str, *, clamp: str | None, dilation: Pair, **window: Any) -> Node:
        attrs = {"stride": window["stride"], "pads": window["pads"], "dilation": dilation}
        return self.node(op, (x,), y, {"kernel": weights, "bias": bias}, clamp, **attrs)

    def pooling(self, op: str, x: Real, y: Real, *, window: Pair, clamp: str | None, **attrs: Any) -> Node:
        return self.node(op, (x,), y, {}, clamp, window=window, stride=attrs["stride"], pads=attrs["pads"])

    def addition(self, a: Real, b: Real, y: Real, *, clamp: str | None) -> Node:
        return self.node("add", (a, b), y, {}, clamp)

    def concatenation(self, xs: tuple[Real, ...], y: Real) -> Node:
        return self.node("concat", xs, y)

    def upsampling(self, x: Real, y: Real, factor: Pair) -> Node:
        return self.node("upsample_nearest2d", (x,), y, factor=factor)

    def softmaxing(self, x: Real, y: Real) -> Node:
        return self.node("softmax", (x,), y)

    def leaky_relu(self, x: Real, y: Real, slope: float) -> Node:
        if slope != LEAKY_SLOPE:
            raise ValueError(f"its slope is {slope:g}; this network has {LEAKY_SLOPE:g}")
        return self.node("leaky_relu", (x,), y)

    def node(self, op: str, xs: tuple[Real, ...], y: Real, arrays: Mapping[str, np.ndarray] | None = None,
             clamp: str | None = None, **attrs: Any) -> Node:
        """A node, its weights kept, and the activation that is fused into it."""
        named = {f"{y.name}/{key}": value for key, value in (arrays or {}).items()}
        self.values |= named
        if clamp:
            self.clamps[y.name] = clamp
        return Node(y.name, op, tuple(x.name for x in xs), tuple(named), attrs, y.shape)


def read_floats(file: Simplified) -> FloatFile:
    """The float network that a file with one input and one output holds, as its operators tell it.

    Raises ValueError for what no U-Net has, with the operator's name and number.
    """
    flat, operators, within = file
    kind = Floats()
    reading = begun(flat, kind)
    where: dict[str, str] = {}
    for called, operator in operators:
        before = len(reading.nodes)
        read_operators(reading, [(called, operator)], READERS)
        where |= {node.name: called for node in reading.nodes[before:]}
    x, y = reading.tensors["input"], result(reading)
    nodes: list[Node] = []
    for node in reading.nodes:
        shape = kind.shape_of(node, [reading.tensors[name].shape for name in node.inputs])
        if shape != reading.tensors[node.name].shape:
            raise ValueError(f"{where[node.name]} gives {reading.tensors[node.name].shape} by what the file says; its "
                             f"operator gives {shape}")
        nodes += _without_clamp(replace(node, shape=shape), kind.clamps.get(node.name))
    where |= {LINEAR.format(name): told for name, told in where.items()}
    specs = {name: WeightSpec(name, value.shape, "zeros") for name, value in kind.values.items()}
    inner = {flat.tensors[number].name: (reading.images[begin].name, formula)
             for number, (begin, formula) in within.items()}
    return FloatFile(Graph(x.name, x.shape, tuple(nodes), specs, y.name), kind.values, where, reading.views, inner,
                     flat.tensors[flat.inputs[0]].shape[1:])


def _without_clamp(node: Node, clamp: str | None) -> list[Node]:
    """A node, and the activation that is fused into it as a node of its own, which has the tensor's name."""
    if clamp is None:
        return [node]
    linear = LINEAR.format(node.name)
    return [Node(linear, node.op, node.inputs, node.weights, node.attrs, node.shape),
            Node(node.name, clamp, (linear,), (), {}, node.shape)]


def _elementwise(op: str) -> Reader:
    def read(reading: Reading, operator: FlatOperator, where: str) -> None:
        x = activation(reading, operator, where)
        y = output(reading, operator, where, op)
        add(reading, operator, y, _kind(reading).node(op, (x,), y, {}, clamp_of(operator, where)))

    return read


def _layer_norm(reading: Reading, operator: FlatOperator, where: str) -> None:
    x = activation(reading, operator, where)
    weights = {}
    for position, name in ((1, "gamma"), (2, "beta")):
        stored, data = constant(reading, operator, where, position, ("float32",))
        if stored.shape[-3:] != (*x.shape[:2], 1) or data.size != x.shape[0] * x.shape[1]:
            raise ValueError(f"{where} has {name} of shape {stored.shape} for an image {x.shape}; this network has one "
                             "number a position")
        weights[name] = data.reshape(x.shape[:2])
    y = output(reading, operator, where, "layer_norm")
    add(reading, operator, y, _kind(reading).node("layer_norm", (x,), y, weights, clamp_of(operator, where),
                                                  axes=(1, 2), eps=operator.options["eps"]))


def _part(of: str) -> Reader:
    """An operator that composites has not put together with others."""
    def read(reading: Reading, operator: FlatOperator, where: str) -> None:
        raise ValueError(f"{where} can be read as a part of {of}, and is none here: {reading.kind.way_out}")

    return read


def _kind(reading: Reading) -> Floats:
    assert isinstance(reading.kind, Floats), "of floats alone"
    return reading.kind


READERS: dict[str, Reader] = {
    **SHARED, "ELU": _elementwise("elu"), "LAYER_NORM": _layer_norm, "RELU": _elementwise("relu"),
    "RELU6": _elementwise("relu6"), "SELU": _elementwise("selu"),
    **dict.fromkeys(("MEAN", "SUB", "SQUARED_DIFFERENCE", "NEG", "RSQRT"), _part("layer norm over height and width")),
    **dict.fromkeys(("GREATER", "EXP", "SELECT", "SELECT_V2", "MINIMUM"), _part("selu")),
    **dict.fromkeys(("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "PAD"), _part("a dilated or padded convolution")),
    "MUL": _part("layer norm, selu or a batch norm behind its convolution"),
    "DEQUANTIZE": _part("float16 weights"),
}
