"""The page of an integer network: the same page, with whole numbers and what they stand for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npunet import __version__
from npunet.audit.layer_facts import sees
from npunet.audit.page import assembled
from npunet.graph import Graph, WeightSpec
from npunet.graph import Node as Drawn
from npunet.integer.network import Network, Node
from npunet.integer.ops.table_of_operators import OPERATORS, ROUNDED
from npunet.integer.run import NOTES
from npunet.layer_values import unknown_layer
from npunet.ops.table import OPERATORS as FLOATS

CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
ELEMENTWISE = "relu"  # what a rescaling, a table or a softmax reads is one position, as this does


def integer_page(network: Network, x: np.ndarray, told: str = "", class_names: tuple[str, ...] = (),
                 tour: Sequence[str] = ()) -> str:
    """The page of an integer network on one sample.

    network : at the size of x
    x       : (H, W, C) integers
    told, class_names, tour : as page's

    The script holds every tensor's integers as float32, which has room for 24 bits, and is handed them so.
    Raises ValueError for a layer of the tour that is not there.
    """
    for name in tour:
        if name not in network.tensors:
            raise ValueError(unknown_layer(name, network.tensors))
    graph = drawn(network)
    walked = replace(graph, nodes=tuple(node if node.op in FLOATS else replace(node, op=ELEMENTWISE) for node in graph))
    numbers = {f"{node.name}/{key}": np.asarray(value, np.float64)
               for node in network for key, value in node.arrays.items()}
    numbers[network.input] = x.astype(np.float32)
    data = {
        "version": __version__, "title": network.name, "level": f"{network.scheme}, rounding {network.rounding}",
        "integer": True, "rank": 1 if len(network.input_shape) == 2 else 2, "told": told, "classNames": class_names,
        "input": network.input, "inputShape": graph.input_shape, "output": network.output, "sampled": False,
        "nodes": [node_data(network, walked, node) for node in network], "oddities": [], "tour": tour,
        "comparison": None,
        "says": {op: documented(op)[0] for op in ops_of(network)},
        "formulas": {op: documented(op)[1] for op in ops_of(network)},
        "sources": {op: inspect.getsource(OPERATORS[op]) for op in ops_of(network)},
        "tensors": {name: {"scale": tensor.scale, "zeroPoint": tensor.zero_point, "limits": tensor.limits}
                    for name, tensor in network.tensors.items()},
    }
    return assembled(data, numbers, graph)


def drawn(network: Network) -> Graph:
    """The network as a graph that can be drawn and walked; it is not run."""
    weights = {f"{node.name}/{key}": WeightSpec(f"{node.name}/{key}", value.shape, "zeros", trainable=False)
               for node in network for key, value in node.arrays.items()}
    nodes = tuple(Drawn(node.name, node.op, node.inputs, tuple(f"{node.name}/{key}" for key in node.arrays),
                        node.attrs, network.tensors[node.name].shape) for node in network)
    return Graph(network.input, network.tensors[network.input].shape, nodes, weights, network.output)


def node_data(network: Network, graph: Graph, node: Node) -> dict[str, Any]:
    """One layer as the page's script needs it; graph : what receptive fields are walked through."""
    attrs = {key: value for key, value in node.attrs.items() if key not in NOTES}
    if node.op in ROUNDED:
        attrs["rounding"] = network.rounding
    wide = "bias" in node.arrays and node.arrays["bias"].dtype == np.int64
    shape = network.tensors[node.name].shape
    return {"name": node.name, "op": node.op, "inputs": node.inputs, "weights": graph[node.name].weights,
            "attrs": {**attrs, "arrays": list(node.arrays), "wide": wide}, "shape": shape,
            "weightShapes": [value.shape for value in node.arrays.values()],
            "parameters": node.parameters,
            "macs": network.macs_of(node), "sees": sees(graph, node.name), "oddities": [],
            "standsFor": ", ".join(node.layers)}


def ops_of(network: Network) -> list[str]:
    """The operators of a network, each once."""
    return sorted({node.op for node in network})


def documented(op: str) -> tuple[str, str]:
    """An operator's docstring: its first sentence, and the formula below it."""
    parts = (inspect.getdoc(OPERATORS[op]) or "").split("\n\n")
    return parts[0], parts[1] if len(parts) > 1 else ""
