"""Inputs of single integer layers: every operator meets its own corner cases.

Rounding ties, steps of the requantisation, saturation at both ends, accumulators beyond 16 and 24 bits, sums at which
the neighbour's multiplier rounds otherwise: verify.integer.probes says at which values of this very network a fault
shows, and here they become inputs. A sum of a convolution is put together from the values of one window (reach.solve);
windows that do not overlap lie side by side, among random values.

All values lie within the limits of the layer that produces them, so that no accumulator leaves its bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from npunet.geometry import effective_kernel
from npunet.golden.draws import Draws
from npunet.golden.integer.reach import alive, largest_norm, solve, taps_of
from npunet.integer.bounds import input_limits
from npunet.integer.network import Network, Node

if TYPE_CHECKING:
    from npunet.verify.integer.probes import Probe

SHOWN = 3  # times that a fault is shown, in other channels where there are others
OFFERED = 12  # sums that are tried until so many of them are found
TRIES = 4  # where none of them is
DRAWN, AT_ONCE = 16, 2**14  # times, and how many values at once, a layer norm's input is drawn for a rare fault
Limits = tuple[int, int]
Image = Callable[[tuple[int, ...], Limits, Draws], np.ndarray]


def layer_inputs(node: Node, network: Network, seed: int) -> list[np.ndarray]:
    """The inputs of a layer's own case, (N, H, W, C) each, of the network's type."""
    from npunet.verify.integer.probes import probe  # verify imports bundles

    draws = Draws(seed, f"layer {node.name}")
    limits = [input_limits(network, name) for name in node.inputs]
    shapes = [network.tensors[name].shape for name in node.inputs]
    asked = probe(node, network)
    if "weights" in node.arrays:
        assert asked is not None, "a convolution has sums"
        images = [*_random(shapes[0], limits[0], draws), *_zeros(shapes[0], limits[0], draws),
                  *_windows(node, network, asked, limits[0], draws)]
        inputs = [np.stack(images)]
    elif node.op in ("max_pool2d", "avg_pool2d", "layer_norm"):
        inputs = [np.stack([make(shapes[0], limits[0], draws) for make in IMAGES])]
        if "window" in node.attrs:
            inputs = [np.concatenate([inputs[0], np.stack(list(_combs(node, shapes[0], limits[0], draws)))])]
        if node.op == "layer_norm":
            inputs = [np.concatenate([inputs[0], _furthest(node, shapes[0], limits[0])])]
            inputs = [np.concatenate([inputs[0], *_norms(node, network, inputs[0], draws)])]
    elif asked is not None:
        inputs = _elements(asked, shapes, limits, draws)
    else:
        inputs = [np.stack(_random(shape, limit, draws)) for shape, limit in zip(shapes, limits, strict=True)]
    return [x.astype(network.tensors[name].dtype) for x, name in zip(inputs, node.inputs, strict=True)]


def _random(shape: tuple[int, ...], limits: Limits, draws: Draws) -> list[np.ndarray]:
    """Any values, and small ones, which keep a sum between the clamps."""
    return [_any(shape, limits, draws), _small(shape, limits, draws)]


def _zeros(shape: tuple[int, ...], limits: Limits, draws: Draws) -> list[np.ndarray]:
    """Stored zeros, which need not mean 0: everywhere, and in every other place; none where no value can be 0."""
    if not limits[0] <= 0 <= limits[1]:
        return []
    return [np.zeros(shape, np.int64), _any(shape, limits, draws) * draws.integers(shape, 0, 2)]


def _any(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    return draws.integers(shape, limits[0], limits[1] + 1)


def _small(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    low, high = limits
    middle, reach = (low + high) // 2, (high - low) // 8 + 1
    return np.clip(draws.integers(shape, middle - reach, middle + reach + 1), low, high)


def _ends(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    return draws.choice(np.array(limits), shape)


def _low(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    """The lower quarter: where a border of zeros would win a maximum."""
    low, high = limits
    return draws.integers(shape, low, low + (high - low) // 4 + 1)


def _high(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    low, high = limits
    return draws.integers(shape, high - (high - low) // 4, high + 1)


def _constant(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    """One value a channel."""
    return np.broadcast_to(_any(shape[2:], limits, draws), shape).copy()


def _close(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    """A variance of next to nothing."""
    return np.clip(_constant(shape, limits, draws) + draws.integers(shape, 0, 2), *limits)


def _one(shape: tuple[int, ...], limits: Limits, draws: Draws) -> np.ndarray:
    """One value of each channel far from all others."""
    image = np.full(shape, limits[0])
    image.reshape(-1, shape[2])[draws.integers(shape[2:], 0, shape[0] * shape[1]), np.arange(shape[2])] = limits[1]
    return image


def _combs(node: Node, shape: tuple[int, ...], limits: Limits, draws: Draws) -> Iterator[np.ndarray]:
    """High rows, or columns, so far apart that a pool's window sees one of them at a time: one too many is seen."""
    for axis, size in enumerate(node.attrs["window"]):
        period = size + 2
        for first in range(min(period, shape[axis])):
            image = np.moveaxis(_low(shape, limits, draws), axis, 0)
            image[first::period] = np.moveaxis(_high(shape, limits, draws), axis, 0)[first::period]
            yield np.moveaxis(image, 0, axis)


IMAGES: tuple[Image, ...] = (_any, _small, _ends, _low, _high, _constant, _close, _one)


def _furthest(node: Node, shape: tuple[int, ...], limits: Limits) -> np.ndarray:
    """Two samples in which one position's sum is as large, and as small, as a layer norm's can be: (2, H, W, C)."""
    gamma, beta = (node.arrays[key].astype(np.int64) for key in ("gamma", "beta"))
    span = np.abs(gamma) * largest_norm(node)
    x = np.empty((2, *shape), np.int64)
    for sample, place, upward in ((0, np.argmax(beta + span), True), (1, np.argmin(beta - span), False)):
        above = (gamma.flat[place] > 0) == upward
        x[sample] = limits[0] if above else limits[1]
        x[sample].reshape(-1, shape[2])[place] = limits[1] if above else limits[0]
    return x


def _norms(node: Node, network: Network, x: np.ndarray, draws: Draws) -> Iterator[np.ndarray]:
    """More samples (1, H, W, C), each of which shows a fault of a layer norm that those before it do not."""
    from npunet.verify.integer.probes import unseen_norms

    hidden, count = unseen_norms(node, network, x, None), max(1, min(256, AT_ONCE * len(x) // x.size))
    for _ in range(DRAWN):
        if not hidden:
            return
        made = draws.integers((count, *x.shape[1:]), *(end + k for k, end in enumerate(input_limits(
            network, node.inputs[0]))))
        still = unseen_norms(node, network, made, hidden)
        for words in hidden - still:
            yield next(made[k : k + 1] for k in range(count)
                       if words not in unseen_norms(node, network, made[k : k + 1], {words}))
        hidden = still


def _elements(asked: Probe, shapes: list[tuple[int, int, int]], limits: list[Limits], draws: Draws) -> list[np.ndarray]:
    """Positions at which faults show, then anything: of an operator that works element by element or row by row."""
    fed = [x[0, 0] for x in asked.evidence.inputs]  # (P, channels or 1) each
    rows = fed[0].shape[1] > 1
    chosen: dict[int, None] = {}
    for _, _, where in asked.differences():
        chosen |= dict.fromkeys(_spread(np.flatnonzero(where) // where.shape[3], SHOWN))
    at = list(chosen)
    if len(fed[0]) <= 256 and not rows:
        at = list(range(len(fed[0])))
    places = shapes[0][0] * shapes[0][1] * (1 if rows else shapes[0][2])
    count = -(-max(1, len(at)) // places) + 1  # the last sample is random
    inputs = []
    for x, shape, limit in zip(fed, shapes, limits, strict=True):
        image = _any((count, *shape), limit, draws)
        if rows:
            image.reshape(-1, shape[2])[: len(at)] = x[at]
        else:
            image.reshape(-1)[: len(at)] = x[at, 0]
        inputs.append(image)
    return inputs


def _windows(node: Node, network: Network, asked: Probe, limits: Limits, draws: Draws) -> list[np.ndarray]:
    """Images in whose windows the sums stand at which faults of a convolution show."""
    offset, groups = node.attrs["input_offset"], list(_groups(node, alive(node, network)))
    depthwise = node.op == "depthwise_conv2d"
    each = node.arrays["weights"].shape[3] if depthwise else 1
    tried: dict[tuple[int, int], bool] = {}  # by channel and sum: whether it was found
    own: list[list[np.ndarray]] = [[] for _ in groups]  # images of each group
    free: dict[tuple[int, int], int] = {}  # by group and input channel (all at once unless depthwise): the next slot
    limits_of_v = limits[0] + offset, limits[1] + offset
    shape = network.tensors[node.inputs[0]].shape

    def put(group: int, channel: int, values: np.ndarray) -> None:
        lane = channel // each if depthwise else 0
        taps, slots = groups[group]
        number, slot = divmod(free.get((group, lane), 0), len(slots))
        free[group, lane] = free.get((group, lane), 0) + 1
        if number == len(own[group]):
            own[group].append(_any(shape, limits, draws))
        rows, columns = _place(node, slots[slot])
        window = own[group][number][np.ix_(rows[taps.any(1)], columns[taps.any(0)])]
        window[..., lane if depthwise else slice(None)] = values.reshape(taps.any(1).sum(), taps.any(0).sum(), -1)[
            ..., 0 if depthwise else slice(None)] - offset
        own[group][number][np.ix_(rows[taps.any(1)], columns[taps.any(0)])] = window

    sums = asked.evidence.inputs[0][0, 0]  # (P, F)
    ranks = np.argsort(np.abs(sums), axis=0, kind="stable")
    def find(channel: int, target: int) -> bool:
        for group, (taps, _) in enumerate(groups):
            values = solve(taps_of(node, channel)[taps].ravel(), limits_of_v, target, draws)
            if values is not None:
                put(group, channel, values)
                return True
        return False

    for _, _, where in asked.differences():
        for anew in range(TRIES):
            shown = 0
            for channel, target in _targets(where[0, 0], sums, ranks):
                if (channel, target) not in tried or (anew and not tried[channel, target]):
                    tried[channel, target] = find(channel, target)
                shown += tried[channel, target]
                if shown == SHOWN:
                    break
            if shown:
                break
    return [image for images in own for image in images]


def _targets(where: np.ndarray, sums: np.ndarray, ranks: np.ndarray) -> Iterator[tuple[int, int]]:
    """(channel, sum) at which a fault shows: small sums first, in turn over the channels.

    where, sums : (P, F);  ranks : rows of the sums by magnitude, channel by channel
    """
    shown: dict[int, list[int]] = {}
    for turn in range(OFFERED):
        for channel in _spread(np.flatnonzero(where.any(0)), OFFERED):
            if channel not in shown:
                rows = ranks[:, channel]
                shown[channel] = _spread(rows[where[rows, channel]], OFFERED)
            if turn < len(shown[channel]):
                yield channel, int(sums[shown[channel][turn], channel])


def _spread(places: np.ndarray, count: int) -> list[int]:
    """So many of the places, evenly; the first among them."""
    step = max(1, -(-len(places) // count))
    return places[::step].tolist()


def _groups(node: Node, inside: np.ndarray) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
    """(taps (KH, KW), positions of the output) of every set of taps that lie inside of the image together and are not
    a part of another such set, the largest first; the windows at the positions do not overlap."""
    sets, first = np.unique(inside.reshape(-1, inside[0, 0].size), axis=0, return_index=True)
    kept: list[np.ndarray] = []
    for k in sorted(range(len(sets)), key=lambda k: (-int(sets[k].sum()), int(first[k]))):
        taps = sets[k].reshape(inside.shape[2:])
        if taps.any() and not any((taps <= larger).all() for larger in kept):
            kept.append(taps)
            yield taps, list(_slots(node, (inside == taps).all((2, 3))))


def _slots(node: Node, same: np.ndarray) -> Iterator[tuple[int, int]]:
    """Positions of the output, among those that are `same` (OH, OW), whose windows do not overlap."""
    steps = [-(-effective_kernel(k, d) // s) for k, d, s in
             zip(node.arrays["weights"].shape[:2], node.attrs["dilation"], node.attrs["stride"], strict=True)]
    row = -steps[0]
    for i in np.flatnonzero(same.any(1)).tolist():
        if i < row + steps[0]:
            continue
        row, column = i, -steps[1]
        for j in np.flatnonzero(same[i]).tolist():
            if j >= column + steps[1]:
                column = j
                yield i, j


def _place(node: Node, at: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the image under a window's taps."""
    kernel, pads = node.arrays["weights"].shape[:2], node.attrs["pads"]
    rows, columns = (i * s + np.arange(k) * d - before for i, k, s, d, (before, _) in
                     zip(at, kernel, node.attrs["stride"], node.attrs["dilation"], pads, strict=True))
    return rows, columns
