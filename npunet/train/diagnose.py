"""Where a loss that is not a number came from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from npunet import run
from npunet.model import UNet


class Diverged(ValueError):
    """The loss of a training run became NaN or infinite."""


def first_fault(model: UNet, weights: Mapping[str, np.ndarray], x: np.ndarray, generator: np.random.Generator) -> str:
    """Name the first thing that is not finite when a batch goes through the network as in training.

    weights   : every weight by name, as they were for that batch
    x         : (B, L, C) or (B, H, W, C)
    generator : in the state that it had before that batch, so that the dropout masks are the same

    Returns the input, a weight, or a layer with the share of its values that are NaN or infinite, in words.
    """
    images, _ = model.sizes.admit(x, model.dtype)
    if not np.isfinite(images).all():
        return f"the input, {_share(images)}"
    for name in model.weights:
        if not np.isfinite(weights[name]).all():
            return f"the weight {name}, {_share(weights[name])}, which an earlier update spoiled"
    graph = model.sizes.graph(images.shape[1:3])
    masks = run.draw_masks(graph, len(images), generator, images.dtype)
    with np.errstate(all="ignore"):
        trace, _ = run.forward(graph.for_training(), {**weights, **masks}, images)
    for node in graph:
        if not np.isfinite(trace[node.name]).all():
            return f"layer {node.name} ({node.op.removesuffix('_inference')}), {_share(trace[node.name])}"
    return "the loss itself: every layer's output is finite"


def _share(values: np.ndarray) -> str:
    bad = np.count_nonzero(~np.isfinite(values))
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    return f"in {bad:,} of {values.size:,} values, the first at {index}"
