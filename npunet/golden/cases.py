"""Inputs of the whole network: few, each with a purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from npunet.golden.corners import window_of
from npunet.golden.draws import Draws
from npunet.golden.ties import image_of_ties
from npunet.graph import Graph

Shape = tuple[int, int, int]
SATURATING = 64.0
BLOCK = 5  # positions of one sign in the saturating case: no power of two, so that poolings see every phase


def random(shape: Shape, draws: Draws) -> np.ndarray:
    """Values between -4 and 4."""
    return draws.uniform(shape, 4.0)


def zeros(shape: Shape, draws: Draws) -> np.ndarray:
    """Nothing but +0: what remains are biases and borders."""
    return np.zeros(shape, np.float32)


def impulse(shape: Shape, draws: Draws) -> np.ndarray:
    """A 1 at the first, the middle and the last position, in turn on each channel: shows shifts and borders."""
    H, W, C = shape
    x = np.zeros(shape, np.float32)
    for number, (i, j) in enumerate([(0, 0), (H // 2, W // 2), (H - 1, W - 1)]):
        x[i, j, number % C] = 1
    return x


def saturate(shape: Shape, draws: Draws) -> np.ndarray:
    """Blocks of +64 and -64 in a random order: clamps are met on both sides, sums are large."""
    H, W, C = shape
    blocks = draws.integers((-(-H // BLOCK), -(-W // BLOCK), C), 0, 2)
    signs = (2 * blocks - 1).repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:H, :W]
    return (SATURATING * signs).astype(np.float32)


def ties(graph: Graph, weights: Mapping[str, np.ndarray], draws: Draws) -> np.ndarray:
    """What makes the first layer's multiply-adds come out wrong where they round twice; zeros where nothing can."""
    for node in graph:
        if "conv2d" in node.op and node.inputs[0] == graph.input and node.attrs["stride"] == (1, 1):
            image = image_of_ties(graph.input_shape, window_of(node, weights), draws)
            if image.any():
                return image
    return np.zeros(graph.input_shape, np.float32)


DRAWN: dict[str, Callable[[Shape, Draws], np.ndarray]] = {
    "random": random, "zeros": zeros, "impulse": impulse, "saturate": saturate,
}
NETWORK_CASES = (*DRAWN, "ties")
KINDS = (*NETWORK_CASES, "layers")  # "layers": one case for every layer, see corners


def network_input(kind: str, graph: Graph, weights: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """The input of a network case, (1, H, W, C) float32."""
    draws = Draws(seed, f"network {kind}")
    return (ties(graph, weights, draws) if kind == "ties" else DRAWN[kind](graph.input_shape, draws))[None]


def check_kinds(kinds: tuple[str, ...]) -> None:
    """Raise ValueError for a case that does not exist."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"there is no case {', '.join(map(repr, unknown))}; choose from {', '.join(KINDS)}")
