"""Which integer operator stands for which layers of the float network.

From the deployed network (batch norm folded, separable convolutions split), ReLU and ReLU6 disappear into the operator
before them, whose clamp they become; every other node stays one operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from npunet.deploy import deploy
from npunet.graph import Graph, Node

CLAMPS = ("relu", "relu6")
CLAMPING = ("conv2d", "depthwise_conv2d", "layer_norm")  # operators that end in a clamp of their own


@dataclass(frozen=True)
class PlannedOperator:
    """One integer operator to be.

    name   : the layer whose output it gives
    node   : the float operator
    clamp  : "relu", "relu6" or None
    layers : all layers of the float network that it stands for
    """

    name: str
    node: Node
    inputs: tuple[str, ...]
    clamp: str | None
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The deployed network, its weights, and its operators in order.

    reshaped : whether the user's arrays have fewer axes than images, so that a file reshapes them at both ends
    """

    graph: Graph
    weights: Mapping[str, np.ndarray]
    operators: tuple[PlannedOperator, ...]
    output: str
    reshaped: bool

    def __iter__(self) -> Iterator[PlannedOperator]:
        return iter(self.operators)

    def readers(self) -> dict[str, list[str]]:
        """For every tensor the operators that read it."""
        names = (self.graph.input, *(planned.name for planned in self.operators))
        readers: dict[str, list[str]] = {name: [] for name in names}
        for planned in self.operators:
            for name in planned.inputs:
                readers[name].append(planned.name)
        return readers


def make_plan(graph: Graph, weights: Mapping[str, np.ndarray], rank: int) -> Plan:
    """Plan the integer form of a network as trained.

    rank : spatial axes of the user's arrays, 1 or 2

    Raises ValueError for an operator without an integer form.
    """
    deployed, folded = deploy(graph, weights)
    consumers = deployed.consumers()
    norms = {node.inputs[0]: node.name for node in graph if node.op == "batch_norm_inference"}
    operators: dict[str, PlannedOperator] = {}
    renamed: dict[str, str] = {}
    for node in deployed:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        before = operators.get(inputs[0])
        if node.op in CLAMPS and before and before.node.op in CLAMPING and len(consumers[node.inputs[0]]) == 1:
            del operators[before.name]
            renamed[before.name] = node.name
            operators[node.name] = replace(before, name=node.name, clamp=node.op, layers=(*before.layers, node.name))
        else:
            layers = (node.name, norms[node.name]) if node.name in norms else (node.name,)
            operators[node.name] = PlannedOperator(node.name, node, inputs, None, layers)
    output = renamed.get(deployed.output, deployed.output)
    return Plan(deployed, folded, tuple(operators.values()), output, rank == 1)
