"""From the network as trained to the network as deployed: batch norm folded, separable convolutions split.

The folded weights are defined to the last bit (ARITHMETIC: batch norm at inference), so that a port can repeat them:

    inv = fl(gamma * fl(1 / fl(sqrt(fl(var + eps)))))     w' = fl(w * inv)
    shift = fl(beta - fl(mean * inv))                     b' = shift, or fl(shift + fl(b * inv)) with a bias

Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2, with the rounding of each step stated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from npunet.graph import Graph, Node, WeightSpec
from npunet.graph_check import check_graph
from npunet.ops.accumulate import sequential_sum
from npunet.ops.norm import batch_norm_scale_shift

Weights = dict[str, np.ndarray]
LEVELS = ("trained", "deploy")


def check_level(level: str) -> None:
    """Raise ValueError unless it is one of LEVELS."""
    if level not in LEVELS:
        raise ValueError(f"level={level!r} must be one of {', '.join(LEVELS)}")


def deploy(graph: Graph, weights: Mapping[str, np.ndarray]) -> tuple[Graph, Weights]:
    """The deployed network and its weights; every node keeps its layer's name.

    A separable convolution becomes "<layer>/depthwise" and "<layer>"; a batch norm disappears into the convolution
    before it; dropout disappears.
    """
    check_graph(graph)
    lowered = dict(weights)
    nodes: list[Node] = []
    for node in graph:
        nodes += split_separable(node, graph) if node.op == "separable_conv2d" else [node]
    nodes, output = drop_identities(nodes, graph.output)
    nodes, output = fold_batch_norms(nodes, lowered, output)
    named = [name for node in nodes for name in node.weights]
    specs = {name: WeightSpec(name, lowered[name].shape, "zeros", trainable=False) for name in named}
    made = replace(graph, nodes=tuple(nodes), weights=specs, output=output).as_checked()
    return made, {name: lowered[name] for name in named}


def deploy_backward(graph: Graph, weights: Mapping[str, np.ndarray], deployed: Graph,
                    dfolded: Mapping[str, np.ndarray]) -> Weights:
    """Gradients of the trained weights from those of the deployed ones; batch norm's statistics are constants.

    With r = 1 / sqrt(var + eps), dw' and db' of the folded kernel and bias:
    dw = dw' * gamma * r;  dbeta = db';  dgamma = (sum dw' * w + db' * (b - mean)) * r;  db = db' * gamma * r

    graph, weights : the network as trained;  deployed : what deploy made of it
    """
    gradients = dict(dfolded)
    left = {node.name for node in deployed}
    for norm in graph:
        if norm.op != "batch_norm_inference" or norm.name in left:
            continue
        source = graph[norm.inputs[0]]
        while source.op == "dropout_inference":
            source = graph[source.inputs[0]]
        kernel, folded_bias = deployed[source.name].weights
        bias = source.weights[source.weights.index(kernel) + 1 :]            # as trained: one name or none
        gamma, mean, var = (weights[norm.weights[i]] for i in (0, 2, 3))
        w, dw, db = weights[kernel], gradients[kernel], gradients.pop(folded_bias)
        r = 1 / np.sqrt(var + gamma.dtype.type(norm.attrs["eps"]))
        offset = weights[bias[0]] - mean if bias else -mean
        gradients[kernel] = dw * (gamma * r)
        gradients[norm.weights[0]] = ((sequential_sum(dw * w, (0, 1, 2)) + db * offset) * r).astype(w.dtype)
        gradients[norm.weights[1]] = db
        if bias:
            gradients[bias[0]] = db * (gamma * r)
    return gradients


def split_separable(node: Node, graph: Graph) -> list[Node]:
    """A separable convolution as its depthwise half and its 1x1 half, which keeps the name and the bias."""
    (x,), (depthwise_kernel, *rest) = node.inputs, node.weights
    between = f"{node.name}/depthwise"
    channels = graph.shape(x)[2] * graph.weights[depthwise_kernel].shape[3]
    unit = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1)}
    return [
        Node(between, "depthwise_conv2d", (x,), (depthwise_kernel,), node.attrs, (*node.shape[:2], channels)),
        Node(node.name, "conv2d", (between,), tuple(rest), unit, node.shape),
    ]


def drop_identities(nodes: list[Node], output: str) -> tuple[list[Node], str]:
    """Leave out dropout, which does nothing at inference, and let its readers read its input."""
    source: dict[str, str] = {}
    kept = []
    for node in nodes:
        node = replace(node, inputs=tuple(source.get(name, name) for name in node.inputs))
        if node.op == "dropout_inference":
            source[node.name] = node.inputs[0]
        else:
            kept.append(node)
    return kept, source.get(output, output)


def fold_batch_norms(nodes: list[Node], weights: Weights, output: str) -> tuple[list[Node], str]:
    """Fold every batch norm into the convolution that it alone reads, changing `weights` to the folded ones.

    Others stay: behind anything but a convolution, or one that something else reads or shares its weights.
    """
    readers = Counter(name for node in nodes for name in node.inputs) + Counter([output])
    users = Counter(name for node in nodes for name in node.weights)
    source: dict[str, str] = {}
    folded: dict[str, Node] = {}
    for node in nodes:
        alone = node.op == "batch_norm_inference" and readers[node.inputs[0]] == 1
        node = replace(node, inputs=tuple(source.get(name, name) for name in node.inputs))
        convolution = folded.get(node.inputs[0])
        if alone and convolution and convolution.op == "conv2d" and all(users[w] <= 1 for w in convolution.weights):
            folded[convolution.name] = fold(convolution, node, weights)
            source[node.name] = convolution.name
        else:
            folded[node.name] = node
    return list(folded.values()), source.get(output, output)


def fold(convolution: Node, norm: Node, weights: Weights) -> Node:
    """The convolution with the batch norm's scale in its kernel and its shift in its bias."""
    kernel, *bias = convolution.weights
    scale, shift = batch_norm_scale_shift(*(weights[name] for name in norm.weights), eps=norm.attrs["eps"])
    weights[kernel] = weights[kernel] * scale
    name = f"{convolution.name}/bias"
    weights[name] = shift + weights[bias[0]] * scale if bias else shift
    return replace(convolution, weights=(kernel, name))
