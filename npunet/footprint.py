"""What a network takes of memory, counted from its graph before anything is allocated."""

from __future__ import annotations

from math import prod

import numpy as np

from npunet import memory
from npunet.graph import Graph, Node

MOST_TAPS = 2**24  # of a pooling window, which is walked tap by tap
SMALLER = "use fewer filters, a smaller kernel or a smaller input"


def refuse_huge(graph: Graph, dtype: str) -> None:
    """Raise ValueError for a network whose weights, or whose largest tensor, do not fit in memory.

    Weights are counted twice and a half (they are drawn as float64 and then stored), a tensor with its padding.
    """
    size = np.dtype(dtype).itemsize
    weights = sum(spec.size for spec in graph.weights.values())
    memory.require(weights * (size * 3 // 2) + 8 * max((spec.size for spec in graph.weights.values()), default=0),
                   f"a network of {count(weights)} parameters", SMALLER)
    memory.require(size * prod(graph.input_shape), f"one input of {count(prod(graph.input_shape))} numbers",
                   "use a smaller input")
    for node in graph:
        if prod(node.attrs.get("window", ())) > MOST_TAPS:
            raise ValueError(f"layer {node.name} has windows of {node.attrs['window']}; use a smaller pool")
    if graph.nodes:
        largest = max(graph, key=lambda node: tensor(graph, node))
        memory.require(size * tensor(graph, largest), f"layer {largest.name} alone, for one sample,",
                       "use a smaller input, fewer filters, or a smaller dilation or depth (which is its exponent)")


def refuse_batch(graph: Graph, dtype: str, batch: int, keep: int = 0) -> None:
    """Raise ValueError for a batch that the NumPy executor cannot run in memory; arguments as batch_bytes'."""
    memory.require(batch_bytes(graph, dtype, batch, keep), f"a batch of {batch:,} at {graph.input_shape}",
                   "use a smaller batch or a smaller input")


def batch_bytes(graph: Graph, dtype: str, batch: int, keep: int = 0) -> int:
    """Bytes that the NumPy executor takes at least for a batch.

    keep : how many times every tensor is kept: 0 for inference, which lets go of what nobody reads any more, 1 for a
           trace, 2 for gradients
    """
    needed = keep * sum(prod(node.shape) for node in graph) if keep else peak(graph)
    return np.dtype(dtype).itemsize * needed * batch


def peak(graph: Graph) -> int:
    """Elements that run.infer holds at most for one sample: living tensors, what is made and its padded input."""
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    living = most = prod(graph.input_shape)
    for node in graph:
        most = max(most, living + tensor(graph, node) + prod(node.shape))
        living += prod(node.shape)
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name != graph.output:
                living -= prod(graph.shape(name))
    return most


def tensor(graph: Graph, node: Node) -> int:
    """Elements of a layer's output, or of its padded input where that is larger."""
    pads = node.attrs.get("pads")
    if pads is None or not any(map(any, pads)):
        return prod(node.shape)
    height, width, channels = graph.shape(node.inputs[0])
    (top, bottom), (left, right) = pads
    return max(prod(node.shape), (top + height + bottom) * (left + width + right) * channels)


def count(number: int) -> str:
    """A number in words that stay short."""
    return f"{number:,}" if number < 10**15 else f"about 10^{len(str(number)) - 1}"
