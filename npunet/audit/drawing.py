"""The architecture as a picture: the U to scale, drawn from the graph alone.

A layer's output is a box: its height is the resolution, its width the number of channels (with a smallest size, so that
nothing vanishes). Norms, activations and other layers that only change values are slices stuck to the box before them.
Layers stand in execution order from left to right; every pooling goes a level down, every upsampling a level up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from npunet.graph import Graph, Node
from npunet.ops.table import ACTIVATIONS

TALLEST, WIDEST = 120.0, 1100.0  # height of the full resolution, and about the width of the whole, in pixels
SMALLEST, SLICE = 4.0, 4.0
GAP, LEVEL_GAP, MARGIN, HEAD = 5.0, 34.0, 14.0, 34.0
CHARACTER = 6.4  # of a block's label, DejaVu Sans being the widest font that draws it

KINDS = {
    "conv2d": "convolution", "depthwise_conv2d": "depthwise", "separable_conv2d": "separable", "max_pool2d": "pooling",
    "avg_pool2d": "pooling", "upsample_nearest2d": "upsampling", "batch_norm_inference": "norm", "layer_norm": "norm",
    "batch_norm_train": "norm", **dict.fromkeys(ACTIVATIONS, "activation"), "softmax": "activation",
    "softmax16": "activation", "table": "activation", "rescale": "rescale", "fake_quantize": "rescale",
    "concat": "concat", "add": "add", "dropout_inference": "dropout", "dropout": "dropout",
}
SLICES = ("norm", "activation", "dropout", "rescale")
COLOURS = {  # Okabe & Ito's palette and tints of it, told apart without colour vision by place and title as well
    "input": "#9a9a9a", "convolution": "#0072b2", "depthwise": "#7fb6d9", "separable": "#3f93c5", "pooling": "#d55e00",
    "upsampling": "#009e73", "norm": "#cc79a7", "activation": "#e69f00", "concat": "#56b4e9", "add": "#7a6fb0",
    "dropout": "#b0b0b0", "rescale": "#f0e442",
}


@dataclass(frozen=True)
class Box:
    """One layer's output: its place in pixels, its kind (a key of COLOURS), its layer and what to say of it."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    layer: str
    told: str


@dataclass(frozen=True)
class Arrow:
    """From one box to another: a straight line, or an arc below the boxes where `sag` is not 0."""

    x0: float
    y0: float
    x1: float
    y1: float
    sag: float
    kind: str  # "skip", "next", "arc"


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str
    size: float
    centred: bool


@dataclass(frozen=True)
class Drawing:
    """Everything to be painted, in pixels from the top left corner."""

    title: str
    width: float
    height: float
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    labels: Sequence[Label]
    kinds: Sequence[str]


def drawing(graph: Graph, title: str) -> Drawing:
    """Lay the U out."""
    levels = levels_of(graph)
    extent = max(graph.input_shape[:2])
    heights = {level: max(SMALLEST, TALLEST * max(graph.shape(name)[:2]) / extent) for name, level in levels.items()}
    tops = tops_of(heights)
    scale = channel_scale(graph)
    boxes: list[Box] = []
    x = MARGIN
    for name in (graph.input, *(node.name for node in graph)):
        kind = "input" if name == graph.input else KINDS[graph[name].op]
        sliced = kind in SLICES
        width = SLICE if sliced else max(SMALLEST, scale * graph.shape(name)[2])
        height = max(SMALLEST, TALLEST * max(graph.shape(name)[:2]) / extent)
        x += 0 if sliced else GAP
        boxes.append(Box(x, tops[levels[name]], width, height, kind, name, told(graph, name)))
        x += width
    places = {box.layer: box for box in boxes}
    arrows = [arrow for node in graph for arrow in arrows_into(node, graph, places, levels)]
    depth = max(top + heights[level] for level, top in tops.items())
    kinds = [kind for kind in COLOURS if any(box.kind == kind for box in boxes)]
    return Drawing(title, x + MARGIN, depth + 3 * MARGIN + 12, boxes, arrows,
                   labels_of(graph, places, title, x + MARGIN), kinds)


def levels_of(graph: Graph) -> dict[str, int]:
    """How many poolings more than upsamplings lie before each tensor, shifted so that the highest is 0."""
    levels = {graph.input: 0}
    for node in graph:
        step = {"pooling": 1, "upsampling": -1}.get(KINDS[node.op], 0)
        levels[node.name] = levels[node.inputs[0]] + step
    lowest = min(levels.values())
    return {name: level - lowest for name, level in levels.items()}


def tops_of(heights: dict[int, float]) -> dict[int, float]:
    """Where each level begins, from the top down."""
    tops, y = {}, HEAD
    for level in sorted(heights):
        tops[level] = y
        y += heights[level] + LEVEL_GAP
    return tops


def channel_scale(graph: Graph) -> float:
    """Pixels a channel, so that the whole is about WIDEST."""
    whole = [node for node in graph if KINDS[node.op] not in SLICES]
    free = WIDEST - GAP * len(whole) - SLICE * (len(graph.nodes) - len(whole))
    return max(0.05, free / max(1, sum(node.shape[2] for node in whole)))


def arrows_into(node: Node, graph: Graph, places: dict[str, Box], levels: dict[str, int]) -> list[Arrow]:
    """The arrows that a box needs: none from the box just before it on the same level."""
    arrows = []
    to = places[node.name]
    order = list(places)
    for name in node.inputs:
        source = places[name]
        if order.index(node.name) - order.index(name) == 1 and levels[name] == levels[node.name]:
            continue
        start, middle = source.x + source.width, to.y + to.height / 2
        if levels[name] != levels[node.name]:
            arrows.append(Arrow(source.x + source.width / 2, source.y + (source.height if to.y > source.y else 0),
                                to.x + to.width / 2, to.y + (to.height if to.y < source.y else 0), 0, "next"))
        elif crosses_lower(name, node.name, order, levels):
            arrows.append(Arrow(start, middle, to.x, middle, 0, "skip"))
        else:
            arrows.append(Arrow(start - source.width / 2, source.y + source.height, to.x + to.width / 2,
                                to.y + to.height, min(22.0, 8 + (to.x - start) / 12), "arc"))
    return arrows


def crosses_lower(source: str, to: str, order: list[str], levels: dict[str, int]) -> bool:
    """Whether something deeper lies between two boxes of one level, so that the line between them is free."""
    between = order[order.index(source) + 1 : order.index(to)]
    return any(levels[name] > levels[to] for name in between)


def labels_of(graph: Graph, places: dict[str, Box], title: str, end: float) -> list[Label]:
    """The title, and over every block its name with the resolution and channels of its result."""
    labels = [Label(MARGIN, 16, title, 14, False)]
    blocks: dict[str, list[Box]] = {}
    for name, box in places.items():
        if name != graph.input:
            blocks.setdefault(name.split("_")[0], []).append(box)
    for block, boxes in blocks.items():
        whole = [box for box in boxes if box.kind != "pooling"] or boxes
        first = next(box for box in whole if box.y == min(box.y for box in whole))
        height, width, channels = graph.shape(whole[-1].layer)
        size = f"{width}" if height == 1 else f"{height}x{width}"
        text = f"{block} {size}x{channels}"
        x = min(first.x, end - CHARACTER * len(text))
        taken = [label.x + CHARACTER * len(label.text) for label in labels[1:] if label.y == first.y - 5]
        below = any(right > x for right in taken)
        labels.append(Label(x, first.y + first.height + 26 if below else first.y - 5, text, 9, False))
    return labels


def told(graph: Graph, name: str) -> str:
    """One line about a layer."""
    height, width, channels = graph.shape(name)
    shape = f"{height} x {width} x {channels}"
    return f"{name}: input, {shape}" if name == graph.input else f"{name}: {graph[name].op}, {shape}"
