"""An integer network in one .npz: its description as JSON beside its arrays. No pickle anywhere."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import numpy as np

from npunet.files import write_npz
from npunet.formats.kinds import INTEGER_DESCRIPTION
from npunet.integer.bounds import check_accumulators
from npunet.integer.check import check_network
from npunet.integer.network import Network, Node, Tensor, View
from npunet.reading import json_object, npz, read_all, reading, text_of
from npunet.values import mapping, text

DESCRIPTION = INTEGER_DESCRIPTION
FORMAT = 1


def save(path: str | PathLike[str], network: Network) -> None:
    """Write a network, atomically; the same network gives the same bytes."""
    description = {
        "format": FORMAT, "scheme": network.scheme, "rounding": network.rounding, "input": network.input,
        "output": network.output, "input_shape": network.input_shape, "output_shape": network.output_shape,
        "name": network.name, "metadata": dict(network.metadata),
        "tensors": [[t.name, t.shape, t.dtype, t.scale, t.zero_point] for t in network.tensors.values()],
        "nodes": [{"name": n.name, "op": n.op, "inputs": n.inputs, "attrs": dict(n.attrs), "layers": n.layers,
                   "arrays": list(n.arrays), "scales": list(n.scales)} for n in network.nodes],
        "views": [[name, view.source, view.shape] for name, view in network.views.items()],
    }
    arrays: dict[str, np.ndarray] = {}
    for number, node in enumerate(network.nodes):
        arrays |= {f"{number}/{key}": value for key, value in node.arrays.items()}
        arrays |= {f"{number}/scale/{key}": value for key, value in node.scales.items()}
    write_npz(path, {DESCRIPTION: np.array(json.dumps(description, sort_keys=True)), **arrays})


def load(path: str | PathLike[str]) -> Network:
    """Read what save wrote. Raises FileNotFoundError, Unreadable when the file is no integer network."""
    with reading(path, "is not an integer network that npunet saved"), npz(path) as archive:
        if DESCRIPTION not in archive:
            raise ValueError("it has no description of one; npunet.load opens models of every kind")
        description = json_object(text_of(archive[DESCRIPTION]))
        if description.get("format") != FORMAT:
            raise ValueError(f"its format is {description.get('format')!r:.80}, this version reads {FORMAT}")
        network = _network(description, read_all(archive, passing=[DESCRIPTION]))
        check_network(network)
        check_accumulators(network)
        return network


def _network(description: dict[str, Any], archive: Any) -> Network:
    tensors = {name: Tensor(name, tuple(shape), dtype, float(scale), int(zero))
               for name, shape, dtype, scale, zero in description["tensors"]}
    nodes = tuple(_node(number, told, archive) for number, told in enumerate(description["nodes"]))
    views = {name: View(source, tuple(shape)) for name, source, shape in description["views"]}
    metadata = {key: text(f"metadata, {key}", value) for key, value in
                mapping("metadata", description["metadata"]).items()}
    return Network(description["scheme"], description["rounding"], description["input"], description["output"],
                   tensors, nodes, tuple(description["input_shape"]), tuple(description["output_shape"]), views,
                   text("name", description["name"]), metadata)


def _node(number: int, told: dict[str, Any], archive: Any) -> Node:
    arrays = {key: archive[f"{number}/{key}"] for key in told["arrays"]}
    scales = {key: archive[f"{number}/scale/{key}"] for key in told["scales"]}
    attrs = {key: _pairs(value) for key, value in told["attrs"].items()}
    return Node(told["name"], told["op"], tuple(told["inputs"]), attrs, arrays, scales, tuple(told["layers"]))


def _pairs(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(_pairs(item) for item in value) if isinstance(value, list) else value
