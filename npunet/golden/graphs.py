"""A graph as JSON and back, for model/graph.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet.damage import told
from npunet.graph import Graph, Node, WeightSpec
from npunet.ops.table import OPERATORS


def to_json(graph: Graph) -> dict[str, Any]:
    """Nodes in order with everything that running them needs besides the weights' values."""
    return {
        "input": graph.input,
        "input_shape": list(graph.input_shape),
        "output": graph.output,
        "nodes": [
            {"name": node.name, "op": node.op, "inputs": list(node.inputs), "weights": list(node.weights),
             "attrs": {key: as_lists(value) for key, value in node.attrs.items()}, "shape": list(node.shape)}
            for node in graph
        ],
    }


def from_json(description: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Graph:
    """The graph that to_json wrote. Raises ValueError when it is not one, or reads what is not there."""
    try:
        nodes = tuple(
            Node(node["name"], node["op"], tuple(node["inputs"]), tuple(node["weights"]),
                 {key: as_tuples(value) for key, value in node["attrs"].items()}, tuple(node["shape"]))
            for node in description["nodes"]
        )
        known = {description["input"]}
        for node in nodes:
            missing = [name for name in (*node.inputs,) if name not in known]
            missing += [name for name in node.weights if name not in weights]
            if missing or node.op not in OPERATORS:
                what = f"reads {', '.join(missing)}, which is not there" if missing else "has an unknown operator"
                raise ValueError(f"graph.json is no graph: layer {node.name} ({node.op}) {what}")
            known.add(node.name)
        specs = {name: WeightSpec(name, value.shape, "zeros", trainable=False) for name, value in weights.items()}
        return Graph(description["input"], tuple(description["input_shape"]), nodes, specs, description["output"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"graph.json is no graph: {told(error)}") from None


def as_lists(value: Any) -> Any:
    return [as_lists(element) for element in value] if isinstance(value, (tuple, list)) else value


def as_tuples(value: Any) -> Any:
    return tuple(as_tuples(element) for element in value) if isinstance(value, list) else value
