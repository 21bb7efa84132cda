"""A network as data: nodes in execution order, their shapes, and the weights they name.

A graph knows no executor and holds no numbers; `run` and the engine are handed a graph and a mapping of weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

Shape = tuple[int, int, int]  # (H, W, C)


class WeightSpec(NamedTuple):
    """What a weight is before it has a value.

    name        : "<layer>/<variable>", the reference's name
    shape       : its shape, kernels as (KH, KW, C, F)
    initializer : "he_normal", "zeros" or "ones"
    trainable   : whether gradients reach it (moving statistics: no)
    regularized : whether the training loss adds its L2 norm
    """

    name: str
    shape: tuple[int, ...]
    initializer: str
    trainable: bool = True
    regularized: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True)
class Node:
    """One operator of the network.

    name    : the reference's layer name, also the name of its output
    op      : key of ops.table.OPERATORS
    inputs  : names of the nodes (or the graph's input) that it reads
    weights : names of the weights that it reads, in the operator's order
    attrs   : keyword arguments of the operator, resolved (pads, stride, ...)
    shape   : (H, W, C) of its output
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    attrs: Mapping[str, Any]
    shape: Shape


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run, from `input` to `output`."""

    input: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    weights: Mapping[str, WeightSpec]
    output: str
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)
    checked: bool = field(default=False, init=False, repr=False, compare=False)  # see as_checked

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    def as_checked(self) -> Graph:
        """This graph, marked as one that can run: by who made it so, or by graph_check.check_graph."""
        object.__setattr__(self, "checked", True)
        return self

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def shape(self, name: str) -> Shape:
        """(H, W, C) of a node's output or of the input."""
        return self.input_shape if name == self.input else self._by_name[name].shape

    def consumers(self) -> dict[str, list[Node]]:
        """For every tensor the nodes that read it, in execution order."""
        readers: dict[str, list[Node]] = {name: [] for name in (self.input, *self._by_name)}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    def for_training(self) -> Graph:
        """The same network as it behaves in training: batch statistics, and dropout by a mask "<layer>/mask".

        The mask is one more named tensor beside the weights; run.draw_masks makes them.
        """
        return replace(self, nodes=tuple(_as_trained(node) for node in self.nodes))


def _as_trained(node: Node) -> Node:
    if node.op == "batch_norm_inference":
        return replace(node, op="batch_norm_train", weights=node.weights[:2])  # gamma, beta
    if node.op == "dropout_inference":
        attrs = {key: value for key, value in node.attrs.items() if key != "rate"}
        return replace(node, op="dropout", weights=(f"{node.name}/mask",), attrs=attrs)
    return node


class GraphBuilder:
    """A graph while it is being drawn: add nodes one after another, then build()."""

    def __init__(self, input_shape: Shape) -> None:
        self.input = "input"
        self.input_shape = input_shape
        self.nodes: dict[str, Node] = {}
        self.weights: dict[str, WeightSpec] = {}

    def shape(self, name: str) -> Shape:
        """(H, W, C) of a tensor drawn so far."""
        return self.input_shape if name == self.input else self.nodes[name].shape

    def add(self, name: str, op: str, inputs: tuple[str, ...], shape: Shape,
            weights: tuple[WeightSpec, ...] = (), **attrs: Any) -> str:
        """Append a node and return its name. Raises ValueError when the name is taken."""
        if name in self.nodes:
            raise ValueError(f"two layers would be called {name!r}")
        for weight in weights:
            self.weights[weight.name] = weight
        self.nodes[name] = Node(name, op, inputs, tuple(weight.name for weight in weights), attrs, shape)
        return name

    def build(self, output: str) -> Graph:
        """The finished graph, with `output` as its result."""
        return Graph(self.input, self.input_shape, tuple(self.nodes.values()), dict(self.weights), output)
