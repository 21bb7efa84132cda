"""What a bundle is about: the model, the size to run it at, and its graph at the level asked for."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from os import PathLike
from typing import Any

import numpy as np

from npunet import IntegerModel, UNet, presets
from npunet.deploy import deploy
from npunet.golden.drawn import TOLD, draw_weights
from npunet.graph import Graph, Node
from npunet.loading import load_network
from npunet.ops.table import CONVOLUTIONS
from npunet.segment import Segmenter
from npunet.values import integer

SMALLEST = 32  # positions along an axis below which "auto" does not shrink, nor start for an open size
MOST = 8 << 30  # bytes of one sample's tensors: all of them are held at once
WORD = 4


@dataclass(frozen=True)
class Subject:
    """A model and its network as it is run.

    origin         : of the weights, a key of drawn.TOLD
    trained        : the network as trained, at the bundle's size
    graph, weights : the network as run, at the bundle's level
    folded         : batch norms folded into a layer, by its name
    class_names    : of the output's channels, where a preset tells
    """

    model: UNet
    origin: str
    trained: Graph
    graph: Graph
    weights: dict[str, np.ndarray]
    folded: dict[str, list[str]]
    class_names: list[str] | None


def resolve(source: UNet | str | PathLike[str], level: str, inputs: np.ndarray | None,
            size: str | tuple[int, ...], max_size: int, weights: str | None = None, seed: int = 0) -> Subject:
    """Find the model, its weights, its size and its graph. Raises ValueError with the way out.

    weights : "drawn", "given", or None: drawn for a preset's name, given for a model
    seed    : of drawn weights
    """
    model, origin = _model(source), weights or ("drawn" if is_described(source) else "given")
    if origin not in TOLD:
        raise ValueError(f"weights={weights!r} must be one of {', '.join(TOLD)}")
    if origin == "drawn" and model.dtype == "float32":
        model = draw_weights(UNet(model.params, model.input_shape, model.num_classes), seed)
    if model.dtype != "float32":
        raise ValueError(f"a golden bundle is of float32, the model is {model.dtype}; build one with dtype='float32' "
                         "and give it the weights: load_weights(model.weights)")
    trained = _sized(model, inputs, size, max_size)
    if not trained.nodes:
        raise ValueError("the network has neither blocks nor a top, so there is nothing to check")
    graph, lowered = deploy(trained, model.weights) if level == "deploy" else (trained, dict(model.weights))
    kept = {node.name for node in graph}
    folded: dict[str, list[str]] = {}
    for node in trained:
        if node.op == "batch_norm_inference" and node.name not in kept:
            folded.setdefault(node.inputs[0], []).append(node.name)
    return Subject(model, origin, trained, graph, lowered, folded, _class_names(model))


def checked_size(size: Any) -> str | tuple[int, ...]:
    """The size to run at, as golden takes it. Raises ValueError."""
    if isinstance(size, str):
        return size
    if not isinstance(size, (tuple, list)) or not size:
        raise ValueError(f"size={size!r:.80} must be (L,), (H, W), 'full' or 'auto'")
    return tuple(integer("size", extent) for extent in size)


def is_described(source: UNet | Segmenter | str | PathLike[str]) -> bool:
    """Whether a model is named by a preset, so that nobody has given it weights."""
    return not isinstance(source, (UNet, Segmenter)) and str(source) in presets.names()


def _model(source: UNet | Segmenter | str | PathLike[str]) -> UNet:
    if isinstance(source, UNet):
        return source
    if isinstance(source, IntegerModel):
        raise ValueError(f"{source!r} is an integer network, which has no float arithmetic")
    if isinstance(source, Segmenter):
        return source.network
    if is_described(source):
        preset = presets.load(str(source))
        return UNet(preset, tuple(preset["input_shape"]), preset["num_classes"])
    try:
        return load_network(source)
    except FileNotFoundError:
        raise ValueError(f"{source} is neither a saved model nor a preset ({', '.join(presets.names())})") from None


def _class_names(model: UNet) -> list[str] | None:
    """Names of the classes, where the model was made from a preset."""
    if model.params.name not in presets.names():
        return None
    names = presets.load(model.params.name)["class_names"]
    return names if len(names) == model.num_classes else None


def _sized(model: UNet, inputs: np.ndarray | None, size: str | tuple[int, ...], max_size: int) -> Graph:
    """The network as trained, at the size of the inputs, at the given size, at its own, or at one that fits."""
    if isinstance(size, str) and size not in ("auto", "full"):
        raise ValueError(f'size={size!r} must be "auto", "full" or numbers such as (256,) or (64, 48)')
    if inputs is not None:
        images, _ = model.sizes.admit(inputs, "float32")
        return model.sizes.graph(images.shape[1:3])
    if not isinstance(size, str):
        if min(size, default=0) < 1:
            raise ValueError(f"size={'x'.join(map(str, size))} must be 1 or more along every axis")
        channels = model.input_shape[-1]
        assert channels is not None  # only sizes are left open
        probe = np.broadcast_to(np.float32(0), (1, *size, channels))  # a shape without memory
        images, _ = model.sizes.admit(probe, "float32")
        graph = model.sizes.graph(images.shape[1:3])
        if payload(graph) > MOST:
            raise ValueError(f"size={'x'.join(map(str, size))} is too large: the tensors of one sample take "
                             f"{payload(graph) / 2**30:,.0f} GiB, more than {MOST >> 30}; give a smaller one")
        return graph
    rank, multiple = model.sizes.rank, model.sizes.multiple
    open_axes = [None] * (2 - rank) + [extent is None for extent in model.input_shape[:-1]]
    height, width = (
        -(-SMALLEST // unit) * unit if is_open else extent
        for extent, unit, is_open in zip(model.sizes.size, multiple, open_axes, strict=True)
    )
    while size == "auto" and not model.sizes.fixed and payload(model.sizes.graph((height, width))) > max_size // 4:
        smaller = tuple(max(extent // 2 // unit * unit, min(extent, -(-SMALLEST // unit) * unit))
                        for extent, unit in zip((height, width), multiple, strict=True))
        if smaller == (height, width):
            break
        height, width = smaller
    return model.sizes.graph((height, width))


def payload(graph: Graph) -> int:
    """Bytes of one sample's tensors: the input, every accumulator and every output."""
    words = prod(graph.input_shape)
    for node in graph:
        words += prod(node.shape) * (1 + has_accumulator(node, graph))
    return words * WORD


def has_accumulator(node: Node, graph: Graph) -> bool:
    """Whether a layer adds a bias to a sum."""
    return node.op in CONVOLUTIONS and len(graph.weights[node.weights[-1]].shape) == 1
