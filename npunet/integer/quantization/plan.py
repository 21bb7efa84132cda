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
class Step:
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
    steps: tuple[Step, ...]
    output: str
    reshaped: bool

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def readers(self) -> dict[str, list[str]]:
        """For every tensor the steps that read it."""
        readers: dict[str, list[str]] = {name: [] for name in (self.graph.input, *(step.name for step in self.steps))}
        for step in self.steps:
            for name in step.inputs:
                readers[name].append(step.name)
        return readers


def make_plan(graph: Graph, weights: Mapping[str, np.ndarray], rank: int) -> Plan:
    """Plan the integer form of a network as trained.

    rank : spatial axes of the user's arrays, 1 or 2

    Raises ValueError for an operator without an integer form.
    """
    deployed, folded = deploy(graph, weights)
    consumers = deployed.consumers()
    norms = {node.inputs[0]: node.name for node in graph if node.op == "batch_norm_inference"}
    steps: dict[str, Step] = {}
    renamed: dict[str, str] = {}
    for node in deployed:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        before = steps.get(inputs[0])
        if node.op in CLAMPS and before and before.node.op in CLAMPING and len(consumers[node.inputs[0]]) == 1:
            del steps[before.name]
            renamed[before.name] = node.name
            steps[node.name] = replace(before, name=node.name, clamp=node.op, layers=(*before.layers, node.name))
        else:
            layers = (node.name, norms[node.name]) if node.name in norms else (node.name,)
            steps[node.name] = Step(node.name, node, inputs, None, layers)
    output = renamed.get(deployed.output, deployed.output)
    return Plan(deployed, folded, tuple(steps.values()), output, rank == 1)
