"""Which input positions an output of an integer network depends on: its nodes walked backwards, as in
inference.receptive."""

from __future__ import annotations

import numpy as np

from npunet.inference.receptive import Context
from npunet.integer.network import Network, Node
from npunet.integer.resize import FIXED

READS = {  # by operator: the taps of a kernel, a window, one position of a smaller tensor, the same position
    "conv2d": "taps", "depthwise_conv2d": "taps", "max_pool2d": "window", "avg_pool2d": "window",
    "upsample_nearest2d": "factor", "add": "position", "concat": "position", "rescale": "position",
    "leaky_relu": "position", "table": "position", "softmax": "position", "softmax16": "position",
    "layer_norm": "image",
}


def refuse_bound(network: Network) -> None:
    """Raise ValueError for a network that looks at its whole input, or that fits one size only."""
    for node in network:
        if node.op in FIXED or READS[node.op] == "image":
            raise ValueError(f"{node.name} looks at the whole input, so the network cannot be cut into blocks; run it "
                             "whole by predict")
        if node.attrs.get("padding") == "valid":
            raise ValueError(f"{node.name} has padding 'valid', which binds the network to its size, so it cannot be "
                             "cut into blocks; run it whole by predict")


def context(network: Network, axis: int, period: int) -> Context:
    """How far outputs look, for every phase of the network's strides.

    axis   : 0 for rows, 1 for columns; the time of a signal is axis 1
    period : the product of the strides along it

    Raises ValueError for a network that looks everywhere.
    """
    refuse_bound(network)
    reads = [_read(network, axis, k) for k in range(period)]
    return Context(np.array([k - read[0] for k, read in enumerate(reads)]),
                   np.array([read[-1] - k for k, read in enumerate(reads)]))


def _read(network: Network, axis: int, position: int) -> np.ndarray:
    """The input positions that an output depends on in an endless input, in increasing order."""
    reached = {network.output: np.array([position])}
    for node in reversed(network.nodes):
        if node.name in reached:
            read = _read_by(node, axis, reached[node.name])
            for name in node.inputs:
                reached[name] = np.union1d(reached.get(name, read), read)
    return reached[network.input]


def _read_by(node: Node, axis: int, positions: np.ndarray) -> np.ndarray:
    """Positions of its inputs that a node reads for some of its outputs."""
    reads, attrs = READS[node.op], node.attrs
    if reads == "position":
        return positions
    if reads == "factor":
        return positions // attrs["factor"][axis]
    taps = np.arange(node.arrays["weights"].shape[axis]) * attrs["dilation"][axis] if reads == "taps" else \
        np.arange(attrs["window"][axis])
    return (positions[:, None] * attrs["stride"][axis] - attrs["pads"][axis][0] + taps).ravel()
