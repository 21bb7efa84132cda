"""Running layers one by one, with what a convolution holds before its bias."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet import run
from npunet.graph import Graph, Node
from npunet.ops.table import CONVOLUTIONS


@dataclass(frozen=True)
class LayerRun:
    """One layer run: its inputs, its accumulator (None unless it is a convolution with a bias), its output."""

    node: Node
    inputs: tuple[np.ndarray, ...]
    acc: np.ndarray | None
    out: np.ndarray


def run_layer(node: Node, inputs: Sequence[np.ndarray], weights: Mapping[str, np.ndarray], arithmetic: str) -> LayerRun:
    """One layer on given inputs, (N, H, W, C) each."""
    kernels, bias = split_bias(node, weights)
    with np.errstate(all="ignore"):  # infinities and NaN are meant
        acc, _ = run.apply(node, iter((*inputs, *(weights[name] for name in kernels))), arithmetic)
        if bias is None:
            return LayerRun(node, tuple(inputs), None, acc)
        return LayerRun(node, tuple(inputs), acc, acc + bias)


def split_bias(node: Node, weights: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Names of a layer's weights without a convolution's bias, and that bias."""
    if node.op in CONVOLUTIONS and node.weights and weights[node.weights[-1]].ndim == 1:
        return node.weights[:-1], weights[node.weights[-1]]
    return node.weights, None


def run_network(graph: Graph, weights: Mapping[str, np.ndarray], x: np.ndarray, arithmetic: str) -> Iterator[LayerRun]:
    """Every layer in order, fed with what came before; a tensor is let go after its last reader."""
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    alive = {graph.input: x}
    for node in graph:
        layer_run = run_layer(node, [alive[name] for name in node.inputs], weights, arithmetic)
        alive[node.name] = layer_run.out
        yield layer_run
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0:
                del alive[name]


def tensors_of(layer_run: LayerRun, layer: str) -> dict[str, np.ndarray]:
    """What a bundle keeps of a layer run, by key."""
    acc = {} if layer_run.acc is None else {f"{layer}.acc": layer_run.acc}
    return acc | {f"{layer}.out": layer_run.out}
