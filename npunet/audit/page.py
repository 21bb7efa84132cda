"""One HTML file in which a network recomputes live, with the bits of the definition; no network access, no server.

The file holds its data as JSON and its weights as base64, beside the JavaScript of web/. Names from models and files
reach the page as data only: "<" is escaped in the JSON, and the script sets them as text, never as markup.
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

import numpy as np

from npunet import __version__, summary
from npunet.audit import bundle, draw
from npunet.audit.comparison import Comparison
from npunet.audit.drawing import drawing
from npunet.audit.layer_facts import sees
from npunet.audit.oddities import Oddity
from npunet.audit.samples import layer_samples, sampled_weight, too_large
from npunet.audit.subject import Subject
from npunet.graph import Graph, Node
from npunet.limits import entry_of
from npunet.ops.table import OPERATORS


def page(shown: Subject, told: str = "", class_names: tuple[str, ...] = (), odd: Sequence[Oddity] = (),
         tour: Sequence[str] = (), compared: Comparison | None = None) -> str:
    """The page of a network on one input.

    told        : what the input is, in words
    class_names : of the output's channels, where they are classes
    odd         : what of the reference's oddities the network meets
    tour        : the layers that the page's arrows walk through, in this order; none for all
    compared    : what is laid over the network

    Raises ValueError for a layer of the tour that is not there, or a model laid over one that is sampled; Unsupported
    (a ValueError) for an operator that the script does not have.
    """
    for name in tour:
        shown.node(name)
    for node in shown.graph:
        entry_of(dict.fromkeys(bundle.operators("network", "OPERATORS")), node, "the page", "see explain and trace")
    nodes = [node_data(shown.graph, node, odd) for node in shown.graph]
    is_sampled = too_large(sum(node["parameters"] for node in nodes), sum(node["macs"] for node in nodes))
    tensors = {shown.graph.input: shown.x}
    weights = shown.weights
    if is_sampled:
        tensors, figures = layer_samples(shown)
        if compared is not None and compared.weights:
            raise ValueError(f"{shown.title} is too large for a page that holds two models")
        weights = {name: sampled_weight(weight) for name, weight in weights.items()}
        nodes = [{**node, "figures": figures[node["name"]]} for node in nodes]
    others = {} if compared is None else {f"other {name}": value for name, value in compared.weights.items()}
    numbers = {**weights, **tensors, **others}
    data = {
        "version": __version__, "title": shown.title, "level": shown.level, "rank": shown.rank, "told": told,
        "classNames": class_names, "input": shown.graph.input, "inputShape": shown.graph.input_shape,
        "output": shown.graph.output, "nodes": nodes, "sampled": is_sampled, "integer": False,
        "says": says(shown.graph),
        "sources": sources(shown.graph), "oddities": [asdict(each) for each in odd],
        "tour": tour, "comparison": None if compared is None else {**vars(compared), "weights": list(compared.weights)},
    }
    return assembled(data, numbers, shown.graph)


def assembled(data: Mapping[str, Any], numbers: Mapping[str, np.ndarray], graph: Graph) -> str:
    """The HTML of a page.

    data    : what web/ reads as the description, but for `weights`, which is made here
    numbers : every array that the page holds; float64 ones stay so, others become float32
    """
    ordered = dict(sorted(numbers.items(), key=lambda item: item[1].dtype != np.float64))  # so that all are aligned
    entries = [{"name": name, "shape": value.shape, "wide": value.dtype == np.float64}
               for name, value in ordered.items()]
    parts = {
        "TITLE": escape(data["title"]), "STYLE": bundle.read("page.css"), "SCRIPT": bundle.script(),
        "DATA": as_json({**data, "weights": entries}), "NUMBERS": encode(ordered),
        "DRAWING": draw.svg(drawing(graph, data["title"])),
    }
    return fill(bundle.read("page.html"), parts)


def fill(template: str, parts: dict[str, str]) -> str:
    """The template with every @NAME@ replaced, in one pass: what is put in is not looked at again."""
    pieces = template.split("@")
    return "".join(parts.get(piece, piece) if index % 2 else piece for index, piece in enumerate(pieces))


def node_data(graph: Graph, node: Node, odd: Sequence[Oddity]) -> dict[str, Any]:
    """One layer as the page's script needs it."""
    return {"name": node.name, "op": node.op, "inputs": node.inputs, "weights": node.weights,
            "attrs": dict(node.attrs), "shape": node.shape,
            "weightShapes": [graph.weights[name].shape for name in node.weights],
            "parameters": sum(graph.weights[name].size for name in node.weights), "macs": summary.macs(graph, node),
            "sees": sees(graph, node.name),
            "oddities": [number for number, each in enumerate(odd) if node.name in each.layers]}


def operators(graph: Graph) -> list[str]:
    """Each operator of a network once, in the order of the graph: of a set the page would be another every time."""
    return list(dict.fromkeys(node.op for node in graph))


def says(graph: Graph) -> dict[str, str]:
    """What each operator of a network does, in one sentence: the first of its docstring."""
    return {op: (inspect.getdoc(OPERATORS[op].forward) or "").split("\n\n")[0] for op in operators(graph)}


def sources(graph: Graph) -> dict[str, str]:
    """The Python of each operator of a network, forward and backward."""
    return {op: f"{inspect.getsource(OPERATORS[op].forward)}\n\n{inspect.getsource(OPERATORS[op].backward)}"
            for op in operators(graph)}


def as_json(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def encode(arrays: dict[str, np.ndarray]) -> str:
    """Arrays one after another as little-endian float32, or float64 where they are that, in base64."""
    parts = (np.asarray(array, "<f8" if array.dtype == np.float64 else "<f4").tobytes() for array in arrays.values())
    return base64.b64encode(b"".join(parts)).decode()
