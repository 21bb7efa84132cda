"""Inputs of single layers: every operator meets its own corner cases.

Where a result depends on a neighbourhood (convolution, pooling), themes lie side by side in bands along the longer
axis, each wide enough for its theme not to be drowned by its neighbours; a small layer takes several samples instead.
Elsewhere, probes stand among random values. The names of the samples say which themes they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod

import numpy as np

from npunet.golden import probes
from npunet.golden.draws import Draws
from npunet.golden.ties import Window, image_of_ties
from npunet.graph import Graph, Node

Shape = tuple[int, int, int]
Theme = Callable[[Shape, Draws], np.ndarray]
Inputs = tuple[list[str], list[np.ndarray]]
CONSTANT = 6.0


def layer_inputs(node: Node, graph: Graph, weights: Mapping[str, np.ndarray], seed: int) -> Inputs:
    """Names of the samples, and the layer's inputs (N, H, W, C), float32."""
    shapes = [graph.shape(name) for name in node.inputs]
    draws = Draws(seed, f"layer {node.name}")
    if "conv2d" in node.op:
        window = window_of(node, weights)
        return in_bands(_convolution_themes(window, node.attrs["stride"]), shapes[0], window.reach, draws)
    if "pool2d" in node.op:
        return in_bands(_pooling_themes(node.attrs["window"]), shapes[0], node.attrs["window"], draws)
    if node.op == "layer_norm":
        return _channel_by_channel(probes.plane_themes(), shapes[0], draws)
    if node.op == "softmax":
        return _among_random(probes.logit_rows(shapes[0][2]), shapes, draws)
    if node.op == "add":
        return _among_random(probes.pairs()[:, :, None], shapes, draws)
    if node.op in ("concat", "upsample_nearest2d"):
        return ["distinct values"], [_moved(shape, number, draws) for number, shape in enumerate(shapes)]
    return _among_random(probes.values(node.op)[:, None, None], shapes, draws)


def in_bands(themes: Mapping[str, Theme], shape: Shape, reach: Sequence[int], draws: Draws) -> Inputs:
    """Themes side by side; reach : extent (rows, columns) of the window that will run over them."""
    axis = int(shape[1] >= shape[0])
    length, names = shape[axis], list(themes)
    abreast = min(len(names), max(1, length // (2 * reach[axis] + 2)))
    samples, images = [], []
    for start in range(0, len(names), abreast):
        group = names[start : start + abreast]
        edges = [length * number // len(group) for number in range(len(group) + 1)]
        bands = []
        for name, first, last in zip(group, edges, edges[1:], strict=False):
            extent = (last - first, *shape[1:]) if axis == 0 else (shape[0], last - first, shape[2])
            bands.append(themes[name](extent, draws))
        samples.append(" ".join(group))
        images.append(np.concatenate(bands, axis))
    return samples, [np.stack(images)]


def window_of(node: Node, weights: Mapping[str, np.ndarray]) -> Window:
    """How a convolution reads its input; of a separable one its depthwise half, which has no bias."""
    kernel, bias = weights[node.weights[0]], weights[node.weights[-1]]
    (top, _), (left, _) = node.attrs["pads"]
    return Window(kernel, node.op != "conv2d", node.attrs["dilation"], (top, left),
                  bias if bias.ndim == 1 and node.op != "separable_conv2d" else None)


def _convolution_themes(window: Window, stride: tuple[int, int]) -> dict[str, Theme]:
    reach = window.reach
    ties: dict[str, Theme] = {"ties": lambda shape, draws: image_of_ties(shape, window, draws)}
    return {
        "random": lambda shape, draws: draws.uniform(shape, 8.0),
        "impulses": lambda shape, draws: _isolated(np.ones(1, np.float32), np.zeros(shape, np.float32), reach, draws),
        **(ties if stride == (1, 1) else {}),
        "maximum": lambda shape, draws: np.full(shape, CONSTANT, np.float32),
        "minimum": lambda shape, draws: np.full(shape, -CONSTANT, np.float32),
        "subnormal": lambda shape, draws: _subnormal(shape, window, draws),
        "nan": lambda shape, draws: _isolated(probes.SPECIAL[::2], _signed_zeros(shape, draws), reach, draws),
        "infinite": lambda shape, draws: _isolated(probes.SPECIAL[1::2], _signed_zeros(shape, draws), reach, draws),
        "overflow": lambda shape, draws: draws.spread(shape, 125, 127),
        # Cancellation: every order rounds otherwise. It comes last, so that a part that is not written shows.
        "order": lambda shape, draws: draws.spread(shape, -12, 12),
    }


def _pooling_themes(window: tuple[int, int]) -> dict[str, Theme]:
    def ramp(shape: Shape, draws: Draws) -> np.ndarray:
        return np.arange(prod(shape), dtype=np.float32).reshape(shape)

    def among_infinite(shape: Shape, draws: Draws, value: float) -> np.ndarray:
        values = np.array([value, -probes.LARGEST, -np.inf], np.float32)
        return _isolated(values, np.full(shape, -np.inf, np.float32), window, draws)

    return {
        "negative": lambda shape, draws: -1 - np.abs(draws.uniform(shape, 8.0)),  # a border of zeros would win
        "ascending": lambda shape, draws: ramp(shape, draws) - prod(shape),
        "descending": lambda shape, draws: -ramp(shape, draws) - 1,
        "equal maxima": lambda shape, draws: draws.integers(shape, 1, 3).astype(np.float32),
        "nan": lambda shape, draws: among_infinite(shape, draws, np.nan),
        "infinite": lambda shape, draws: among_infinite(shape, draws, np.inf),
        "random": lambda shape, draws: draws.spread(shape, -12, 12),
        "subnormal": lambda shape, draws: draws.spread(shape, -140, -126),
    }


def _isolated(values: np.ndarray, image: np.ndarray, reach: Sequence[int], draws: Draws) -> np.ndarray:
    """One value on one channel at every position of a lattice so wide that no window sees two."""
    H, W, C = image.shape
    rows, columns = np.arange(min(reach[0], H) // 2, H, reach[0]), np.arange(min(reach[1], W) // 2, W, reach[1])
    first = int(draws.integers((1,), 0, C)[0])
    for number, (i, j) in enumerate((i, j) for i in rows for j in columns):
        image[i, j, (first + number) % C] = values[number % len(values)]
    return image


def _signed_zeros(shape: Shape, draws: Draws) -> np.ndarray:
    return draws.choice(np.array([0.0, -0.0], np.float32), shape)


def _subnormal(shape: Shape, window: Window, draws: Draws) -> np.ndarray:
    """Subnormal values whose products with the largest weights are just subnormal; then normal ones, each alone.

    The first show whether inputs are flushed to zero; the products of the others are subnormal, though no input is.
    Smaller ones would end in sums that underflow to -0 now and then, where a port that pads has +0.
    """
    sizes = np.abs(window.kernel[window.kernel != 0])
    ends = (sizes.min(), sizes.max()) if len(sizes) else (1, 1)
    smallest, largest = (int(np.floor(np.log2(size))) for size in ends)
    image = draws.spread(shape, -131 - largest, -129 - largest)
    axis = int(shape[1] >= shape[0])
    half = [slice(None), slice(None)]
    half[axis] = slice(shape[axis] // 2, None)
    alone = np.float32(2.0 ** max(-126, -148 - smallest))
    later = image[tuple(half)]
    image[tuple(half)] = _isolated(np.array([alone, -alone]), np.zeros_like(later), window.reach, draws)
    return image


def _channel_by_channel(themes: Mapping[str, Theme], shape: Shape, draws: Draws) -> Inputs:
    """One theme a channel, going round; as many samples as it takes for every theme to come up."""
    H, W, C = shape
    names = list(themes)
    count = ceil(len(names) / C)
    order = [names[number % len(names)] for number in range(count * C)]
    planes = [themes[name]((H, W, 1), draws) for name in order]
    images = np.concatenate(planes, axis=2).reshape(H, W, count, C).transpose(2, 0, 1, 3)
    return [" ".join(order[k * C : k * C + C]) for k in range(count)], [np.ascontiguousarray(images)]


def _among_random(rows: np.ndarray, shapes: Sequence[Shape], draws: Draws) -> Inputs:
    """Probes at random places among random values.

    rows : (probes, inputs, length), each a run of `length` elements that lie side by side on every input
    """
    length, places = rows.shape[2], prod(shapes[0]) // rows.shape[2]
    count = ceil((len(rows) + 1) / places)
    order = np.argsort(draws.words(count * places - 1), kind="stable")[: len(rows)]
    images = []
    for number, shape in enumerate(shapes):
        flat = draws.uniform((count * places, length), 8.0)
        flat[order] = rows[:, min(number, rows.shape[1] - 1)]
        flat[-1] = np.abs(flat[-1]) + 1  # the last is no zero after any activation: it shows whether it was written
        images.append(flat.reshape(count, *shape))
    return [f"probes {k + 1}" for k in range(count)], images


def _distinct(shape: Shape, number: int) -> np.ndarray:
    """No value twice, none shared between a layer's inputs, both signs, none within the limits of a byte."""
    values = 128 + number / 2 + np.arange(prod(shape), dtype=np.float64)
    values[1::2] *= -1
    return values.astype(np.float32).reshape(1, *shape)


def _moved(shape: Shape, number: int, draws: Draws) -> np.ndarray:
    """Distinct values, every fourth of any size, subnormal or special: for operators that only move values."""
    image = _distinct(shape, number)
    others = image.reshape(-1)[3:-1:4]
    others[:] = draws.spread(others.shape, -140, 127)
    others[::7] = np.resize(np.array(probes.SUBNORMALS[:4], np.float32), len(others[::7]))
    others[1::7] = np.resize(probes.SPECIAL, len(others[1::7]))
    return image
