"""An integer network as data: tensors with their scales, nodes with nothing but integers.

This is the whole description. Whoever runs it (the NumPy operators of integer.ops, a C port, an engine) or writes it
down (a .tflite, a golden bundle) reads these values and needs no other module of npunet. Real numbers stand in it only
to say what the integers mean: no run reads a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DTYPES = {"int8": "int8", "int16x8": "int16"}  # of the activations, by scheme
SCHEMES = tuple(DTYPES)
LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
PARAMETERS = ("weights", "bias", "gamma", "beta")  # arrays that were learnt; the others follow from scales
Shape = tuple[int, int, int]  # (H, W, C)


@dataclass(frozen=True)
class Tensor:
    """What a tensor's integers mean: value = scale * (q - zero_point).

    name       : the layer whose output it is
    shape      : (H, W, C) of one sample; a signal has H = 1
    dtype      : "int8" or "int16"
    scale      : a float32 value, positive
    zero_point : within the dtype's range; 0 for int16
    """

    name: str
    shape: Shape
    dtype: str
    scale: float
    zero_point: int

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of the dtype."""
        return LIMITS[self.dtype]


@dataclass(frozen=True)
class Node:
    """One integer operator.

    name   : of the tensor that it writes
    op     : key of integer.ops.OPERATORS
    inputs : names of the tensors that it reads
    attrs  : its integers, pairs of them, and words, by the operator's keywords
    arrays : its integer arrays, by the operator's keywords
    scales : float32 scales of the arrays that have one ("weights": (F,), "bias": (F,)); nothing reads them in a run
    layers : the layers of the float network that it stands for, in order
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    scales: Mapping[str, np.ndarray] = field(default_factory=dict)
    layers: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Numbers in its weights and bias (of layer norm gamma and beta), a bias of zeros included."""
        return sum(self.arrays[key].size for key in PARAMETERS if key in self.arrays)


@dataclass(frozen=True)
class View:
    """Another name for a tensor's values, in another shape (RESHAPE moves nothing).

    source : name of the tensor
    shape  : of one sample, any rank
    """

    source: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """Nodes in an order in which they can run, from `input` to `output`.

    scheme       : "int8", or "int16x8" for activations of 16 bits and weights of 8
    rounding     : the profile of every requantisation, "D" or "S" (fixed_point.requantize)
    tensors      : by name, the input among them
    input_shape  : of one sample as the user has it, (L, C) or (H, W, C); the tensor's shape may have a 1 before
    output_shape : of one sample as the user gets it
    views        : more names, such as a .tflite's own
    name         : of the model
    metadata     : texts that travel with the network, such as the names of the classes, JSON
    """

    scheme: str
    rounding: str
    input: str
    output: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    views: Mapping[str, View] = field(default_factory=dict)
    name: str = "UNet"
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample."""
        return sum(map(self.macs_of, self.nodes))

    def macs_of(self, node: Node) -> int:
        """Multiply-accumulates of one operator for one sample; what multiplies no weights counts nothing."""
        height, width, _ = self.tensors[node.name].shape
        return height * width * node.arrays["weights"].size if "weights" in node.arrays else 0

    def consumers(self) -> dict[str, list[Node]]:
        """For every tensor the nodes that read it, in execution order."""
        readers: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    @property
    def parameters(self) -> int:
        """Numbers in all weights and biases."""
        return sum(node.parameters for node in self.nodes)
