"""Which U-Net a float file holds: its arguments, guessed by walking the graph as unet.build draws it, then compared.

A network is known by what reads what, not by names, which a converter changes. What is guessed becomes the network
that unet.build draws and deploy.split_separable splits, and every layer of it is compared with the file's: so a network
that is another one in anything that computes is refused, with the operator that differs.

Batch norm is folded in a file, so that its blocks are read as blocks without a norm, whose convolutions have a bias.
Dropout does nothing in it and is not read. A pooling or upsampling by 1 may be missing. Whether it is a network of
signals or of images its input says, (1, L, C) or (1, H, W, C); the output may have another number of axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet import unet
from npunet.deploy import split_separable
from npunet.formats.tflite.floats import FloatFile
from npunet.formats.tflite.walk import OTHER_NETWORK, Found, Walk
from npunet.formats.tflite.within import Within
from npunet.graph import Graph, Node
from npunet.layer_values import Alias, OtherName


def architecture_of(file: FloatFile, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray],
                                                                dict[str, OtherName]]:
    """The arguments of UNet, the weights by the network's names, and the aliases of a file.

    name : of the network

    Raises ValueError with the operator that differs.
    """
    walk = Walk(merged(file))
    found, params, classes = walk.network(name)
    rank = len(file.input_shape) - 1
    graph = unet.build(params, file.graph.input_shape, classes, rank=rank)
    weights, layer_of = compared(walk.file, found, graph)
    description = {"params": params, "input_shape": file.input_shape, "num_classes": classes, "dtype": "float32"}
    return description, weights, aliases(file, layer_of)


def merged(file: FloatFile) -> FloatFile:
    """The file with an upsampling of one axis after another as one of both."""
    readers = file.graph.consumers()
    nodes: dict[str, Node] = {}
    for node in file.graph:
        before = nodes.get(node.inputs[0])
        if node.op == "upsample_nearest2d" and before and before.op == node.op and len(readers[before.name]) == 1:
            factor = tuple(a * b for a, b in zip(before.attrs["factor"], node.attrs["factor"], strict=True))
            del nodes[before.name]
            node = Node(node.name, node.op, before.inputs, (), {"factor": factor}, node.shape)
        nodes[node.name] = node
    graph = Graph(file.graph.input, file.graph.input_shape, tuple(nodes.values()), file.graph.weights,
                  file.graph.output)
    return FloatFile(graph, file.weights, file.where, file.views, file.within,
                     file.input_shape)


def compared(file: FloatFile, found: Found, graph: Graph) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The weights by the network's names, and by the file's nodes the layers that they are.

    Raises ValueError for the first operator that is not as the network has it.
    """
    weights: dict[str, np.ndarray] = {}
    layer_of = {file.graph.input: graph.input}  # of what the file has
    stands = {graph.input: file.graph.input}  # the file's node of every layer, also of those that it leaves out
    for node in (half for whole in graph for half in (
            split_separable(whole, graph) if whole.op == "separable_conv2d" else [whole])):
        theirs = found.layers.get(node.name)
        if theirs is None:
            if not _does_nothing(node):
                raise ValueError(f"it has no {node.name} ({node.op}), which this network has")
            stands[node.name] = stands[node.inputs[0]]
            continue
        where = file.where[theirs.name]
        reads = [stands[name] for name in node.inputs]
        if sorted(theirs.inputs) != sorted(reads) if node.op == "add" else list(theirs.inputs) != reads:
            raise ValueError(f"{where} does not read what {node.name} reads; {OTHER_NETWORK}")
        _compare_node(file, theirs, node, where, graph)
        for weight, name in zip(theirs.weights, node.weights, strict=False):
            weights[name] = file.weights[weight]
        for weight in theirs.weights[len(node.weights) :]:
            if file.weights[weight].any():
                raise ValueError(f"{where} has a bias, which {node.name} of this network does not have")
        stands[node.name], layer_of[theirs.name] = theirs.name, node.name
    return weights, layer_of


def _does_nothing(node: Node) -> bool:
    """Whether a layer is a pooling or an upsampling by 1."""
    one = (1, 1)
    return node.attrs.get("factor") == one or (node.attrs.get("window") == one and node.attrs["stride"] == one)


def _compare_node(file: FloatFile, theirs: Node, node: Node, where: str, graph: Graph) -> None:
    """Raise ValueError unless a node of the file computes what a layer of the network does."""
    if theirs.op != node.op:
        raise ValueError(f"{where} is {theirs.op!r} where {node.name} of this network is {node.op!r}")
    if theirs.shape != node.shape:
        raise ValueError(f"{where} gives {theirs.shape} where {node.name} of this network gives {node.shape}")
    kernel = file.weights[theirs.weights[0]].shape if theirs.weights else ()
    for name, value in node.attrs.items():
        other = theirs.attrs[name]
        if name == "dilation":  # which says nothing along an axis of 1
            same = all(a == b or size == 1 for a, b, size in zip(other, value, kernel, strict=False))
        else:
            same = np.float32(other) == np.float32(value) if name == "eps" else other == value
        if not same:
            way = "; weights of float16 round it: convert the network without them" if name == "eps" else ""
            raise ValueError(f"{where} has {name} {other} where {node.name} of this network has {value}{way}")
    for weight, name in zip(theirs.weights, node.weights, strict=False):
        wanted = graph.weights[name].shape
        if file.weights[weight].shape != wanted:
            raise ValueError(f"{where} has {weight.rpartition('/')[2]} {file.weights[weight].shape} where {node.name} "
                             f"of this network has {wanted}")


def aliases(file: FloatFile, layer_of: Mapping[str, str]) -> dict[str, OtherName]:
    """The file's own names of its tensors, and which layer's values each has, or what is computed from a layer's.

    A tensor between the upsampling of one axis and that of the other is its layer's input, repeated along one.
    """
    made: dict[str, OtherName] = {name: Within(layer_of[begin], formula)
                                  for name, (begin, formula) in file.within.items() if begin in layer_of}
    for name, view in file.views.items():
        source, factor = view.source, (1, 1)
        if source not in layer_of and source in {node.name for node in file.graph}:
            node = file.graph[source]
            if node.op == "upsample_nearest2d":
                source, factor = node.inputs[0], node.attrs["factor"]
        if source in layer_of:
            made[name] = Alias(layer_of[source], view.shape, factor)
    return made
