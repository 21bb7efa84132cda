"""Integers as the numbers of a network that is read: scales and zero points, weights of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet.formats.tflite.flat import DESCRIPTION, FlatOperator, FlatTensor
from npunet.formats.tflite.names import layer_of
from npunet.formats.tflite.reading import Reading, image_shape
from npunet.geometry import Pair
from npunet.integer import parameters
from npunet.integer.check import SHAPES
from npunet.integer.network import LIMITS, Node, Shape, Tensor


@dataclass(frozen=True)
class Integers:
    """The kind of an integer network; what its methods are, reading.Kind says.

    lut : in which arithmetic the tables of a 16-bit softmax are made, "f32" as TFLite-Micro, "f64" as LiteRT, whose
          factors of a leaky ReLU are taken then too
    """

    lut: str = "f32"
    way_out: str = "export the U-Net alone, with a fixed batch of 1 and full integer quantisation"
    weights: tuple[str, ...] = ("int8",)

    def image(self, flat: FlatTensor, name: str, where: str) -> Tensor:
        if flat.dtype.name not in LIMITS:
            raise ValueError(f"{where}: {flat.name} is {flat.dtype}; activations must be int8 or int16: {self.way_out}")
        if flat.scales.size != 1:
            raise ValueError(f"{where}: {flat.name} has {flat.scales.size} scales; an activation has one")
        shape = image_shape(flat, where, self.way_out)
        return Tensor(name, shape, flat.dtype.name, float(flat.scales[0]), int(flat.zero_points[0]))

    def name(self, reading: Reading, operator: FlatOperator, op: str, clamp: str | None) -> str | None:
        flat = reading.flats[operator.outputs[0]]
        constants = [reading.flats[i].name for i in operator.inputs if i >= 0 and i not in reading.images]
        inputs = tuple(reading.images[i].name for i in operator.inputs if i in reading.images)
        ours = reading.flat.description == DESCRIPTION  # whose tensors have the layers' names
        return flat.name if ours else layer_of((flat.name, *constants), op, clamp is not None, inputs)

    def tiled_name(self, reading: Reading, operator: FlatOperator) -> str:
        """The layer's name for the last TILE of an upsampling, "<layer>/rows" for one before it."""
        name = reading.flats[operator.outputs[0]].name
        layer = layer_of((name,), "upsample_nearest2d", False, ())
        later = reading.flat.operators[reading.flat.operators.index(operator) + 1 :]
        if layer and any(layer_of((reading.flats[o.outputs[0]].name,), "upsample_nearest2d", False, ()) == layer
                         for o in later if o.code == "TILE" and o.outputs):
            layer = f"{layer}/rows"
        return layer if layer and layer not in reading.tensors else f"{name} (tensor {operator.outputs[0]})"

    def same_meaning(self, where: str, x: Tensor, flat: FlatTensor) -> None:
        if flat.dtype != x.dtype or flat.scales.size != 1 or (
                (float(flat.scales[0]), int(flat.zero_points[0])) != (x.scale, x.zero_point)):
            raise ValueError(f"{where} copies integers from one type or scale to another; requantise before it")

    def shape_of(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        return SHAPES[node.op](node, *shapes)

    def biases(self, x: Tensor) -> tuple[str, ...]:
        return ("int32",) if x.dtype == "int8" else ("int32", "int64")

    def no_bias(self, x: Tensor, channels: int, where: str) -> np.ndarray:
        if x.dtype == "int8":
            return np.zeros(channels, np.int32)
        raise ValueError(f"{where} has no bias, without which nothing says whether 16-bit activations are summed in 32 "
                         "or 64 bits")

    def convolution(self, op: str, x: Tensor, y: Tensor, weights: np.ndarray, bias: np.ndarray, stored: FlatTensor,
                    where: str, *, clamp: str | None, dilation: Pair, **window: Any) -> Node:
        channels, axis = bias.size, 3 if op == "depthwise_conv2d" else 0
        if stored.zero_points.any() or stored.scales.size not in (1, channels):
            raise ValueError(f"{where} has weights that are not symmetric, or {stored.scales.size} scales for "
                             f"{channels} channels")
        if stored.scales.size > 1 and stored.axis != axis:
            raise ValueError(f"{where} has weight scales along axis {stored.axis}")
        scales = np.broadcast_to(stored.scales, (channels,))
        return parameters.convolution(op, x, y, weights, bias, scales, dilation=dilation, clamp=clamp,
                                      layers=(y.name,), **window)

    def pooling(self, op: str, x: Tensor, y: Tensor, *, window: Pair, clamp: str | None, **attrs: Any) -> Node:
        return parameters.pooling(op, x, y, window=window, clamp=clamp, layers=(y.name,), **attrs)

    def addition(self, a: Tensor, b: Tensor, y: Tensor, *, clamp: str | None) -> Node:
        return parameters.addition(a, b, y, clamp=clamp, layers=(y.name,))

    def concatenation(self, xs: tuple[Tensor, ...], y: Tensor) -> Node:
        return parameters.concatenation(xs, y, layers=(y.name,))

    def upsampling(self, x: Tensor, y: Tensor, factor: Pair) -> Node:
        return parameters.upsampling(x, y, factor, layers=(y.name,))

    def softmaxing(self, x: Tensor, y: Tensor) -> Node:
        return parameters.softmaxing(x, y, lut=self.lut, layers=(y.name,))

    def leaky_relu(self, x: Tensor, y: Tensor, slope: float) -> Node:
        return parameters.leaky_relu(x, y, slope, layers=(y.name,), as_litert=self.lut == "f64")

    def rescaling(self, x: Tensor, y: Tensor) -> Node:
        """Integers of one scale as those of another."""
        return parameters.rescaling(x, y, layers=(y.name,))
