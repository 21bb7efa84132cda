"""The executor that defines every result: forward and backward over a graph with the NumPy operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from npunet.graph import Graph, Node
from npunet.graph_check import check_graph, check_tensors, operator_of
from npunet.ops.table import OPERATORS

Tensors = dict[str, np.ndarray]
Saves = dict[str, Tensors]


def forward(graph: Graph, weights: Mapping[str, np.ndarray], x: np.ndarray, *,
            arithmetic: str = "any") -> tuple[Tensors, Saves]:
    """Run the graph and keep everything.

    weights : one array for every name in the nodes' `weights`; for a training graph also the dropout masks
    x : (N, H, W, C) of the graph's input shape

    Returns (trace, saves): every tensor by name, input included, and for each node what its backward needs besides.
    """
    check_graph(graph)
    check_tensors(graph, weights, x)
    trace, saves = {graph.input: x}, {}
    for node in graph:
        trace[node.name], saves[node.name] = apply(node, operands(node, trace, weights), arithmetic)
    return trace, saves


def infer(graph: Graph, weights: Mapping[str, np.ndarray], x: np.ndarray, *, arithmetic: str = "any",
          after_each: Callable[[], object] | None = None) -> np.ndarray:
    """Run the graph for its output alone, letting every tensor go after its last use.

    after_each : called after every node; what it raises ends the run
    """
    check_graph(graph)
    check_tensors(graph, weights, x)
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    trace = {graph.input: x}
    for node in graph:
        trace[node.name], _ = apply(node, operands(node, trace, weights), arithmetic)
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name != graph.output:
                del trace[name]
        if after_each is not None:
            after_each()
    return trace[graph.output]


def backward(graph: Graph, weights: Mapping[str, np.ndarray], trace: Tensors, saves: Saves,
             dy: np.ndarray) -> tuple[Tensors, Tensors]:
    """Differentiate what forward did.

    dy : dLoss / d output, (N, H, W, C)

    Returns (dtrace, dweights): the gradient of every tensor of the trace and of every weight, by the same names.
    """
    dtrace: Tensors = {graph.output: dy}
    dweights: Tensors = {}
    for node in reversed(graph.nodes):
        op = OPERATORS[node.op]
        gradients = op.backward(dtrace[node.name], *operands(node, trace, weights), **node.attrs, **saves[node.name])
        into = [dtrace] * len(node.inputs) + [dweights] * len(node.weights)
        for home, name, gradient in zip(into, (*node.inputs, *node.weights), gradients, strict=False):
            if gradient is not None:  # None: a constant, such as a dropout mask
                home[name] = home[name] + gradient if name in home else gradient
    return dtrace, dweights


def operands(node: Node, trace: Tensors, weights: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
    """The arrays that a node reads, in its operator's order."""
    yield from (trace[name] for name in node.inputs)
    yield from (weights[name] for name in node.weights)


def apply(node: Node, arrays: Iterator[np.ndarray], arithmetic: str) -> tuple[np.ndarray, Tensors]:
    """Run one operator: its output, and what its backward needs besides."""
    op = operator_of(node)
    order = {"arithmetic": arithmetic} if op.sums else {}
    result = op.forward(*arrays, **node.attrs, **order)
    return result if isinstance(result, tuple) else (result, {})


def draw_masks(graph: Graph, batch: int, generator: np.random.Generator, dtype: np.dtype) -> Tensors:
    """Dropout masks "<layer>/mask" (N, H, W, C) for a training graph: 1 / (1 - rate) where kept, else 0."""
    masks = {}
    for node in graph:
        if node.op == "dropout_inference":
            rate = node.attrs["rate"]
            kept = generator.random((batch, *node.shape)) >= rate
            masks[f"{node.name}/mask"] = (kept / (1 - rate)).astype(dtype)
    return masks
