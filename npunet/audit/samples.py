"""What a page holds of a network that is too large for it: parts of every tensor, and figures over the whole of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from npunet import run
from npunet.audit.subject import Subject

WEIGHTS, MACS = 1_500_000, 5_000_000_000  # of more than that a page holds samples only
POSITIONS, SIDE, CHANNELS = 512, 32, 8    # of a signal, of an image's side, and channels that are kept
FILTERS = 16                              # input channels and filters of a kernel that are kept


def too_large(parameters: int, macs: int) -> bool:
    """Whether a page cannot hold a network whole, or a browser not recompute it."""
    return parameters > WEIGHTS or macs > MACS


def layer_samples(shown: Subject) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Every tensor sampled (H', W', C'), and its figures: range, mean, shares at 0 and at 6, dead channels."""
    samples, figures = {}, {}
    readers = {name: len(nodes) for name, nodes in shown.graph.consumers().items()}
    trace = {shown.graph.input: shown.x[None]}
    samples[shown.graph.input] = sampled(shown.x)
    for node in shown.graph:
        y, _ = run.apply(node, run.operands(node, trace, shown.weights), "any")
        trace[node.name] = y
        samples[node.name], figures[node.name] = sampled(y[0]), figures_of(y[0])
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0:
                del trace[name]
    return samples, figures


def sampled(tensor: np.ndarray) -> np.ndarray:
    """Every so-manieth position, and the first channels, of (H, W, C)."""
    height, width, _ = tensor.shape
    rows, columns = (1, POSITIONS) if height == 1 else (SIDE, SIDE)
    return tensor[:: -(-height // rows), :: -(-width // columns), :CHANNELS]


def sampled_weight(weight: np.ndarray) -> np.ndarray:
    """The first channels and filters of a kernel; the first values of a vector or a map."""
    if weight.ndim == 4:
        return weight[:, :, :FILTERS, :FILTERS]
    return weight[tuple(slice(POSITIONS if weight.ndim == 1 else SIDE) for _ in weight.shape)]


def figures_of(tensor: np.ndarray) -> dict[str, Any]:
    """What a layer's whole output (H, W, C) looks like, in numbers."""
    dead = np.flatnonzero((tensor == 0).all((0, 1)))
    return {"low": float(tensor.min()), "high": float(tensor.max()), "mean": float(tensor.mean(dtype=np.float64)),
            "zeros": float((tensor == 0).mean()), "sixes": float((tensor == 6).mean()), "dead": dead.tolist()}
