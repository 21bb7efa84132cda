"""What is looked at: a network at one size, its weights and one input, as trained or as deployed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npunet.data.synthetic import synthetic_ecg, synthetic_nuclei
from npunet.deploy import LEVELS, deploy
from npunet.graph import Graph, Node
from npunet.integer_model import Dequantized
from npunet.layer_values import unknown_layer
from npunet.model import UNet

OPEN_SIZE = 256  # about so long is the input that is shown of a network whose size is open


@dataclass(frozen=True)
class Subject:
    """One network, ready to be shown.

    title   : its name
    level   : "trained" or "deploy"
    graph   : at the size of the input
    weights : float32, by name
    x       : (H, W, C) float32
    rank    : 1 for signals, 2 for images
    """

    title: str
    level: str
    graph: Graph
    weights: dict[str, np.ndarray]
    x: np.ndarray
    rank: int

    def node(self, name: str) -> Node:
        """A layer by name. Raises ValueError that names the nearest ones."""
        for node in self.graph:
            if node.name == name:
                return node
        raise ValueError(unknown_layer(name, [node.name for node in self.graph]))


def subject(model: UNet, x: np.ndarray | None = None, level: str = "trained") -> Subject:
    """A model and one sample (H, W, C), (L, C) or a batch of one; a made-up sample without x.

    The weights are rounded to float32 where the model is float64.
    Raises ValueError for a sample that does not fit or another level.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level!r} must be one of {', '.join(LEVELS)}")
    if x is None:
        x = example(model)
    x = np.asarray(x)
    batch = x if x.ndim == len(model.input_shape) + 1 else x[None]
    if len(batch) != 1:
        raise ValueError(f"the input holds {len(batch)} samples; give one (--index N takes the N-th)")
    images, _ = model.sizes.admit(batch, "float32")
    graph: Graph = model.sizes.graph(images.shape[1:3])
    weights = {name: value.astype(np.float32) for name, value in model.weights.read_only.items()}
    if level == "deploy":
        graph, weights = deploy(graph, weights)
    return Subject(model.params.name, level, graph, weights, np.ascontiguousarray(images[0]), model.sizes.rank)


def example(model: UNet | Dequantized) -> np.ndarray:
    """A sample made by formulas, in the model's shape: an ECG for signals, nuclei for images; mean 0, deviation 1."""
    multiples = model.sizes.multiple[2 - model.sizes.rank:]
    sizes = [size or multiple * max(1, -(-OPEN_SIZE // multiple))
             for size, multiple in zip(model.input_shape[:-1], multiples, strict=True)]
    channels = int(model.input_shape[-1] or 1)
    parts = [_signal(sizes[0], seed) if len(sizes) == 1 else _image((sizes[0], sizes[1]), seed)
             for seed in range(min(channels, 8))]
    x = np.stack([parts[channel % len(parts)] for channel in range(channels)], axis=-1)
    return ((x - x.mean()) / (x.std() or 1)).astype(np.float32)


def _signal(length: int, seed: int) -> np.ndarray:
    """Two and a half beats, however long the signal is."""
    return synthetic_ecg(2.5, length / 2.5, seed=seed)[0]


def _image(size: tuple[int, int], seed: int) -> np.ndarray:
    height, width = size
    return synthetic_nuclei(size=(max(16, height), max(16, width)), seed=seed)[0][:height, :width]
