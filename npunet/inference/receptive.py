"""Which input positions an output depends on: the graph walked backwards, one axis at a time.

The two axes do not mix: the rows that an output reads do not depend on its column. Weights that happen to be zero count
as read.
Source: Araujo, Norris & Sim 2019, Computing receptive fields of convolutional neural networks, Distill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from npunet.graph import Graph, Node
from npunet.ops.table import OPERATORS


@dataclass(frozen=True)
class Context:
    """What the outputs of one period read around themselves, far from the borders.

    before : (period,) input positions before output k that it depends on, the farthest
    after  : (period,) the same after it

    Output k + n * period reads the input from k + n * period - before[k] to k + n * period + after[k].
    """

    before: np.ndarray
    after: np.ndarray

    @property
    def size(self) -> int:
        """The receptive field: positions that one output may depend on, the most."""
        return int((self.before + self.after).max()) + 1


def dependencies(graph: Graph, axis: int, positions: Iterable[int], *, of: str | None = None,
                 clipped: bool = True) -> dict[str, np.ndarray]:
    """Every position of every tensor that some positions of one tensor depend on.

    axis      : 0 for rows, 1 for columns; the time of a signal is axis 1
    positions : along that axis
    of        : a layer's name; None for the output
    clipped   : leave out what lies in the padding; False gives the positions as in an endless input

    Returns {tensor: positions, increasing, int64}, with the graph's input if it is reached and without the tensors that
    are not. Raises ValueError for a layer norm in an endless input.
    """
    reached = {of or graph.output: np.unique(np.fromiter(positions, np.int64))}
    for node in reversed(graph.nodes):
        for name in node.inputs if node.name in reached else ():
            read = read_by(node, axis, reached[node.name], graph)
            if clipped:
                read = read[(read >= 0) & (read < graph.shape(name)[axis])]
            elif OPERATORS[node.op].reads == "image":
                raise ValueError(f"{node.name} normalises over the whole input; an endless one has no such mean")
            reached[name] = np.union1d(reached[name], read) if name in reached else np.unique(read)
    return reached


def read_by(node: Node, axis: int, positions: np.ndarray, graph: Graph) -> np.ndarray:
    """Positions of its inputs that a node reads for some of its outputs, padding included."""
    attrs, reads = node.attrs, OPERATORS[node.op].reads
    if reads == "position":
        return positions
    if reads == "factor":
        return positions // attrs["factor"][axis]
    if reads == "image":
        return np.arange(graph.shape(node.inputs[0])[axis])
    if reads == "window":
        taps = np.arange(attrs["window"][axis])
    elif reads == "taps":
        taps = np.arange(graph.weights[node.weights[0]].shape[axis]) * attrs["dilation"][axis]
    else:
        raise ValueError(f"npunet.inference.receptive does not know what reads={reads!r} of {node.op!r} means")
    return (positions[:, None] * attrs["stride"][axis] - attrs["pads"][axis][0] + taps).ravel()


def input_interval(graph: Graph, axis: int, first: int, last: int) -> tuple[int, int] | None:
    """The first and the last input position that outputs first ... last depend on; None if they depend on none.

    Raises ValueError when the interval is not inside the output.
    """
    size = graph.shape(graph.output)[axis]
    if not 0 <= first <= last < size:
        raise ValueError(f"outputs {first} to {last} are not an interval of the {size} along axis {axis}")
    read = dependencies(graph, axis, range(first, last + 1)).get(graph.input)
    return None if read is None or len(read) == 0 else (int(read[0]), int(read[-1]))


def context(graph: Graph, axis: int, period: int) -> Context:
    """How far outputs look, for every phase of the network's strides.

    period : the product of the strides along the axis

    Raises ValueError for a network with layer norm, which looks everywhere.
    """
    reads = [dependencies(graph, axis, [k], clipped=False)[graph.input] for k in range(period)]
    return Context(np.array([k - read[0] for k, read in enumerate(reads)]),
                   np.array([read[-1] - k for k, read in enumerate(reads)]))
