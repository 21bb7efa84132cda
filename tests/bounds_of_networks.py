"""How far another runtime may lie from the definition on a whole network, and how much of that it uses."""

import numpy as np

from npunet import run
from npunet.golden.bounds import output_bound
from npunet.graph import Graph


def bounded(graph: Graph, weights, x):
    """The definition's output and how far another order of summation may lie from it, carried through the network."""
    trace, _ = run.forward(graph, weights, x, arithmetic="seq")
    bounds = {graph.input: np.zeros(x.shape)}
    for node in graph:
        bounds[node.name] = output_bound(node, [trace[name] for name in node.inputs],
                                         [bounds[name] for name in node.inputs], weights)
    return trace[graph.output], bounds[graph.output]


def share(told, got, expected, bound):
    """The largest part of the bound that is used; fails above 1."""
    assert got.shape == expected.shape, f"{told}: {got.shape}, expected {expected.shape}"
    off = np.abs(got.astype(np.float64) - expected)
    with np.errstate(invalid="ignore"):
        used = np.where(off == 0, 0, off / bound)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(used), used.shape))
    assert used[worst] <= 1, (f"{told}{list(worst)}: got {got[worst]!r}, the definition gives {expected[worst]!r}, "
                              f"{used[worst]:.2f} of the bound {bound[worst]:.2e}")
    return used[worst]
