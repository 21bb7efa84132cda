"""Weights for a network that is only described: drawn so that no fault of a port hides behind a 0 or a 1.

As a network starts its training its biases are 0, its scales 1 and its statistics those of a standard normal: a port
that forgets them is right by accident. So a bundle of a preset draws every weight from its seed:

    kernels           uniform, with the variance 2 / fan-in that keeps the signal's size
    gamma             0.5 ... 1.5, of either sign
    beta, bias, mean  0.25 ... 1, of either sign; 0 in one channel (position) in the middle, where a sum that is
                      subnormal stays so (bias, beta and mean together: a folded bias is 0 there as well)
    variance          0.5 ... 2
    layer norm's gamma is larger at the position where the layer's case has its largest value, so that a clamp at the
    limits of a byte shows
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt

import numpy as np

from npunet import UNet
from npunet.golden.draws import Draws
from npunet.graph import Graph

BYTE = 128.0
CENTRED = ("beta", "bias", "moving_mean")
TOLD = {
    "drawn": "drawn from the bundle's seed (npunet/golden/drawn.py): the network was only described, it is not trained",
    "given": "those of the model that was given",
}


def draw_weights(model: UNet, seed: int) -> UNet:
    """Give a model drawn weights, the same for the same network and seed on every machine; returns the model."""
    return model.load_weights(drawn_weights(model.graph, seed))


def drawn_weights(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """A value for every weight of a network as trained, by name; float32."""
    normalised: Mapping[str, int] = {name: prod(graph.shape(node.name)[:2])
                                     for node in graph if node.op == "layer_norm" for name in node.weights}
    return {name: _drawn(name, spec.shape, normalised.get(name), Draws(seed, f"weight {name}"))
            for name, spec in graph.weights.items()}


def _drawn(name: str, shape: tuple[int, ...], normalised: int | None, draws: Draws) -> np.ndarray:
    """One weight; normalised : how many values a layer norm's parameter spans, None for others."""
    role = name.rpartition("/")[2]
    if len(shape) == 4:
        fan_in = prod(shape[:2]) if role == "depthwise_kernel" else prod(shape[:3])
        return (draws.uniform(shape) * np.float32(sqrt(6 / fan_in))).astype(np.float32)
    signs = (1 - 2 * draws.integers(shape, 0, 2)).astype(np.float32)
    part = (draws.uniform(shape) + 1) / 2  # between 0 and 1
    if role == "gamma":
        value = signs * (0.5 + part)
        if normalised is not None and normalised > 1:
            value[shape[0] // 2, shape[1] // 2] = np.float32(1.25 * BYTE / sqrt(normalised - 1))
        return value.astype(np.float32)
    if role == "moving_variance":
        return (0.5 + 1.5 * part).astype(np.float32)
    if role not in CENTRED:
        raise ValueError(f"there is no rule to draw the weight {name}")
    value = (signs * (0.25 + 0.75 * part)).astype(np.float32)
    if value.size > 1:
        value.reshape(-1)[(value.size - 1) // 2] = 0
    return value
