"""What has been read of a file so far, and the pieces from which its operators make nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from npunet.formats.tflite.flat import DESCRIPTION, FlatModel, FlatOperator, FlatTensor
from npunet.formats.tflite.names import layer_of
from npunet.integer.check import SHAPES
from npunet.integer.network import LIMITS, Node, Shape, Tensor, View

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


def activation(reading: Reading, operator: FlatOperator, where: str, position: int = 0) -> Tensor:
    """An activation that an operator reads."""
    number = operator.inputs[position]
    if number not in reading.images:
        raise ValueError(f"{where} reads tensor {number}, which no operator before it gives")
    return reading.images[number]


def constant(reading: Reading, operator: FlatOperator, where: str, position: int,
              kinds: tuple[str, ...]) -> tuple[FlatTensor, np.ndarray]:
    """A constant that an operator reads, and its values."""
    number = operator.inputs[position]
    tensor = reading.flats[number]
    data = reading.values.get(number, tensor.data)
    if data is None or tensor.dtype.name not in kinds:
        raise ValueError(f"{where} needs a constant {' or '.join(kinds)} as input {position}; {tensor.name} is "
                         f"{tensor.dtype}{'' if data is not None else ' and no constant'}")
    return tensor, data


def output(reading: Reading, operator: FlatOperator, where: str, op: str, clamp: str | None = None) -> Tensor:
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
    return as_image(flat, name, where)


def as_image(flat: FlatTensor, name: str, where: str) -> Tensor:
    """An activation of the file as the network's tensor."""
    if flat.dtype.name not in LIMITS:
        raise ValueError(f"{where}: {flat.name} is {flat.dtype}; activations must be int8 or int16: {WAY_OUT}")
    if flat.scales.size != 1:
        raise ValueError(f"{where}: {flat.name} has {flat.scales.size} scales; an activation has one")
    if len(flat.shape) not in (3, 4) or flat.shape[0] != 1:
        raise ValueError(f"{where}: {flat.name} has shape {flat.shape}; only a batch of 1 with 2 or 3 more axes can be "
                         f"read: {WAY_OUT}")
    return Tensor(name, image_shape(flat.shape), flat.dtype.name, float(flat.scales[0]), int(flat.zero_points[0]))


def image_shape(shape: tuple[int, ...]) -> Shape:
    """(H, W, C) of a file's shape (1, L, C) or (1, H, W, C)."""
    height, width, channels = (1,) * (4 - len(shape)) + shape[1:]
    return height, width, channels


def add(reading: Reading, operator: FlatOperator, y: Tensor, node: Node) -> None:
    """Add a node to the network. A shape that the file leaves to the run is the one that its operator gives."""
    flat = reading.flats[operator.outputs[0]]
    if any(axis for axis in flat.unsettled):                                 # beyond the batch
        y = replace(y, shape=SHAPES[node.op](node, *(reading.tensors[name].shape for name in node.inputs)))
        shape = (1, *y.shape[4 - len(flat.shape) :])
        reading.flats[operator.outputs[0]] = replace(flat, shape=shape, unsettled=())
    reading.images[operator.outputs[0]] = y
    reading.tensors[y.name] = y
    reading.nodes.append(replace(node, layers=node.layers or (y.name,)))
    remember(reading, operator.outputs[0], y)


def remember(reading: Reading, number: int, source: Tensor) -> None:
    """Keep the file's own name of a tensor, in the file's own shape."""
    flat = reading.flats[number]
    known = flat.name == source.name and flat.shape[1:] == source.shape and number not in reading.flat.inputs
    if flat.name and flat.name not in reading.views and not known:
        reading.views[flat.name] = View(source.name, flat.shape[1:])
