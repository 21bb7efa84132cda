"""What has been read of a file so far, and the pieces from which its operators make nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from npunet.formats.tflite.flat import FlatModel, FlatOperator, FlatTensor
from npunet.geometry import Pair
from npunet.integer.network import Shape, View


class Image(Protocol):
    """An activation as an image."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> str: ...


class Kind(Protocol):
    """What the numbers of a network are, and the nodes that operators make of them: integers or floats.

    way_out : what to do about a file that cannot be read
    weights : types that the weights of a convolution may have
    """

    @property
    def way_out(self) -> str: ...

    @property
    def weights(self) -> tuple[str, ...]: ...

    def image(self, flat: FlatTensor, name: str, where: str) -> Any:
        """An activation of the file as the network's. Raises ValueError for one of another type."""

    def name(self, reading: Reading, operator: FlatOperator, op: str, clamp: str | None) -> str | None:
        """The name of the activation that an operator writes, where something tells it."""

    def tiled_name(self, reading: Reading, operator: FlatOperator) -> str:
        """The same for a TILE."""

    def same_meaning(self, where: str, x: Any, flat: FlatTensor) -> None:
        """Raise ValueError unless a tensor's numbers mean what those of x do."""

    def shape_of(self, node: Any, shapes: Sequence[Shape]) -> Shape:
        """What a node makes of its inputs' shapes."""

    def biases(self, x: Any) -> tuple[str, ...]:
        """Types that a bias may have."""

    def no_bias(self, x: Any, channels: int, where: str) -> np.ndarray:
        """What stands for a bias that is left out."""

    def convolution(self, op: str, x: Any, y: Any, weights: np.ndarray, bias: np.ndarray, stored: FlatTensor,
                    where: str, *, clamp: str | None, dilation: Pair, **window: Any) -> Any: ...

    def pooling(self, op: str, x: Any, y: Any, *, window: Pair, clamp: str | None, **attrs: Any) -> Any: ...

    def addition(self, a: Any, b: Any, y: Any, *, clamp: str | None) -> Any: ...

    def concatenation(self, xs: tuple[Any, ...], y: Any) -> Any: ...

    def upsampling(self, x: Any, y: Any, factor: Pair) -> Any: ...

    def softmaxing(self, x: Any, y: Any) -> Any: ...

    def leaky_relu(self, x: Any, y: Any, slope: float) -> Any: ...


@dataclass
class Reading:
    """What has been read so far: which tensor of the network each tensor of the file is.

    flats  : the file's tensors; one whose shape only its operator tells is replaced
    images : by number in the file, the network's tensor
    values : by number, what arithmetic with shapes gives: integers that are known before anything runs
    """

    flat: FlatModel
    kind: Kind
    flats: list[FlatTensor]
    images: dict[int, Any] = field(default_factory=dict)
    values: dict[int, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)


def begun(flat: FlatModel, kind: Kind) -> Reading:
    """A reading that knows the input. Raises ValueError for one whose size is open."""
    reading, number = Reading(flat, kind, list(flat.tensors)), flat.inputs[0]
    source = flat.tensors[number]
    if any(axis for axis in source.unsettled):
        raise ValueError(f"its input ({source.name}) leaves the size of axes {list(source.unsettled)} open; convert it "
                         "with a fixed size")
    x = kind.image(source, "input", f"the input ({source.name})")
    reading.images[number] = reading.tensors[x.name] = x
    remember(reading, number, x)
    return reading


def result(reading: Reading) -> Any:
    """The network's output, after all operators. Raises ValueError where there is none."""
    number = reading.flat.outputs[0]
    if number not in reading.images:
        raise ValueError(f"no operator gives its output ({reading.flat.tensors[number].name})")
    return reading.images[number]


def told(flat: FlatModel) -> dict[str, str]:
    """The texts that npunet wrote into a file beside the network."""
    return {key.removeprefix("npunet."): value.decode("utf-8", "replace") for key, value in flat.metadata.items()
            if key.startswith("npunet.")}


def activation(reading: Reading, operator: FlatOperator, where: str, position: int = 0) -> Any:
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
    if tensor.dtype.kind in "iu" and kinds == ("float32",):
        raise ValueError(f"{where} has weights of {tensor.dtype} and real activations (dynamic range quantisation), "
                         "which every runtime rounds in its own way; convert the network with full integer "
                         "quantisation, or with none")
    if data is None or tensor.dtype.name not in kinds:
        raise ValueError(f"{where} needs a constant {' or '.join(kinds)} as input {position}; {tensor.name} is "
                         f"{tensor.dtype}{'' if data is not None else ' and no constant'}")
    return tensor, data


def output(reading: Reading, operator: FlatOperator, where: str, op: str, clamp: str | None = None) -> Any:
    """The activation that an operator writes, by its layer's name where the file tells it."""
    number = operator.outputs[0]
    flat = reading.flats[number]
    layer = reading.kind.name(reading, operator, op, clamp)
    name = layer if layer and layer not in reading.tensors else flat.name or f"tensor {number}"
    if name in reading.tensors:
        name = f"{name} (tensor {number})"
    return reading.kind.image(flat, name, where)


def image_shape(flat: FlatTensor, where: str, way_out: str) -> Shape:
    """(H, W, C) of a file's tensor (1, L, C) or (1, H, W, C). Raises ValueError for any other shape."""
    if len(flat.shape) not in (3, 4) or flat.shape[0] != 1:
        raise ValueError(f"{where}: {flat.name} has shape {flat.shape}; only a batch of 1 with 2 or 3 more axes can be "
                         f"read: {way_out}")
    height, width, channels = (1,) * (4 - len(flat.shape)) + flat.shape[1:]
    return height, width, channels


def add(reading: Reading, operator: FlatOperator, y: Any, node: Any) -> None:
    """Add a node to the network. A shape that the file leaves to the run is the one that its operator gives."""
    flat = reading.flats[operator.outputs[0]]
    if any(axis for axis in flat.unsettled):                                 # beyond the batch
        y = replace(y, shape=reading.kind.shape_of(node, [reading.tensors[name].shape for name in node.inputs]))
        shape = (1, *y.shape[4 - len(flat.shape) :])
        reading.flats[operator.outputs[0]] = replace(flat, shape=shape, unsettled=())
    reading.images[operator.outputs[0]] = y
    reading.tensors[y.name] = y
    reading.nodes.append(node)
    remember(reading, operator.outputs[0], y)


def remember(reading: Reading, number: int, source: Image) -> None:
    """Keep the file's own name of a tensor, in the file's own shape."""
    flat = reading.flats[number]
    known = flat.name == source.name and flat.shape[1:] == source.shape and number not in reading.flat.inputs
    if flat.name and flat.name not in reading.views and not known:
        reading.views[flat.name] = View(source.name, flat.shape[1:])
