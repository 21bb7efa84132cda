"""The executor of an integer network: every operator by its NumPy definition, in int64."""

from __future__ import annotations

import numpy as np

from npunet.integer.network import Network, Node
from npunet.integer.ops.table_of_operators import OPERATORS, ROUNDED

Tensors = dict[str, np.ndarray]
NOTES = ("padding", "lut", "slope", "function")  # attributes that say where others come from; no operator takes them


def forward(network: Network, x: np.ndarray) -> Tensors:
    """Run the network and keep every tensor by name, the input included, each in its own integer type.

    x : (N, H, W, C) of the input's shape and type
    """
    trace = {network.input: x}
    for node in network:
        trace[node.name] = apply(node, [trace[name] for name in node.inputs], network)
    return trace


def infer(network: Network, x: np.ndarray) -> np.ndarray:
    """Run the network for its output alone, letting every tensor go after its last use."""
    readers = {name: len(nodes) for name, nodes in network.consumers().items()}
    trace = {network.input: x}
    for node in network:
        trace[node.name] = apply(node, [trace[name] for name in node.inputs], network)
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name != network.output:
                del trace[name]
    return trace[network.output]


def apply(node: Node, inputs: list[np.ndarray], network: Network) -> np.ndarray:
    """Run one operator."""
    attrs = {key: value for key, value in node.attrs.items() if key not in NOTES}
    if node.op in ROUNDED:
        attrs["rounding"] = network.rounding
    y = OPERATORS[node.op](*(x.astype(np.int64) for x in inputs), **attrs, **node.arrays)
    return y.astype(network.tensors[node.name].dtype)
