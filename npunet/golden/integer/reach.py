"""Which sums a convolution can reach: over all its windows, from the values that its input can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from npunet.golden.draws import Draws
from npunet.integer.bounds import input_limits
from npunet.integer.network import Network, Node
from npunet.ops.windows import windows

WIDTHS = (40, 40, 40, 256, 256)  # values of a tap that are tried out, try by try


def alive(node: Node, network: Network) -> np.ndarray:
    """Whether a tap lies inside of the image: (OH, OW, KH, KW) bool."""
    H, W, _ = network.tensors[node.inputs[0]].shape
    kernel = node.arrays["weights"].shape[:2]
    inside = windows(np.ones((1, H, W, 1), bool), (kernel[0], kernel[1]),
                     *(node.attrs[key] for key in ("stride", "pads", "dilation")))
    found = np.empty((*inside.shape_out[1:], *kernel), bool)
    for ky, kx in inside:
        found[:, :, ky, kx] = inside[ky, kx][0, :, :, 0]
    return found


def patterns(node: Node, network: Network) -> list[np.ndarray]:
    """The sets of taps (KH, KW) that lie inside of the image together somewhere; the largest first."""
    found = alive(node, network)
    rows = {tuple(row) for row in np.any(found, (1, 3)).tolist()}
    columns = {tuple(column) for column in np.any(found, (0, 2)).tolist()}
    made = [np.outer(row, column) for row, column in product(sorted(rows), sorted(columns))]
    return sorted(made, key=lambda taps: -int(taps.sum()))


def taps_of(node: Node, channel: int) -> np.ndarray:
    """The weights that make one output channel: (KH, KW, C), of a depthwise convolution (KH, KW, 1)."""
    weights = node.arrays["weights"].astype(np.int64)
    if node.op == "conv2d":
        return weights[..., channel]
    c, m = divmod(channel, weights.shape[3])
    return weights[:, :, c : c + 1, m]


def sums_of_windows(node: Node, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of (x + input_offset) * w of each output channel, without the bias: (F,) int64 each."""
    least, most = (value + node.attrs["input_offset"] for value in input_limits(network, node.inputs[0]))
    weights = node.arrays["weights"].astype(np.int64)
    low, high = (end(weights * least, weights * most) for end in (np.minimum, np.maximum))
    axes = (0, 1) if node.op == "depthwise_conv2d" else (0, 1, 2)
    ends = [[(each * taps[:, :, None, None]).sum(axes).ravel() for each in (low, high)]
            for taps in patterns(node, network)]
    return np.min([lowest for lowest, _ in ends], 0), np.max([highest for _, highest in ends], 0)


def reach_of_accumulator(node: Node, network: Network) -> int:
    """The largest magnitude that an accumulator can have, bias included."""
    bias = node.arrays["bias"].astype(np.int64)
    return max(int(np.abs(end + bias).max()) for end in sums_of_windows(node, network))


def largest_norm(node: Node) -> int:
    """A bound of a layer norm's values, in its own steps: of n numbers none is further than sqrt(n - 1) from the mean.

    One value far from all others, which are equal, comes there.
    """
    return math.isqrt((node.arrays["gamma"].size - 1) << (2 * node.attrs["fraction_bits"])) + 2


@dataclass(frozen=True)
class Sums:
    """Every sum v * w that some taps can make: multiples of `step`, but for gaps near the smallest and the largest.

    smallest, span : the smallest sum, and how much larger the largest is
    near           : the sums up to some number, less the smallest, in order; near the largest they lie the other way
                     round, and from near[-1] to span - near[-1] every multiple of the step is one
    """

    smallest: int
    span: int
    step: int
    near: np.ndarray

    def above(self, sums: np.ndarray) -> np.ndarray:
        """The smallest that is at least so large; the largest of all beyond it."""
        return self.smallest + self.span - self._below(self.smallest + self.span - sums)

    def below(self, sums: np.ndarray) -> np.ndarray:
        """The largest that is at most so large; the smallest of all beyond it."""
        return self.smallest + self._below(sums - self.smallest)

    def _below(self, x: np.ndarray) -> np.ndarray:
        """The largest difference from one end that is at most x: those from the other end are the same ones."""
        x = np.clip(x, 0, self.span)
        last = self.near[-1]
        low = self.near[np.searchsorted(self.near, np.minimum(x, last), "right") - 1]
        high = self.span - self.near[np.minimum(np.searchsorted(self.near, self.span - x), len(self.near) - 1)]
        middle = x - x % self.step
        return np.where(x <= last, low, np.where(x >= self.span - last, high, middle))


def reachable(weights: np.ndarray, limits: tuple[int, int]) -> Sums:
    """Every sum v * w.

    weights : (T,) int64;  limits : of v, both ends included

    With steps s = |w| and 0 <= u <= M = high - low the sums are smallest + sum u * s. Where M is at least twice the
    largest step, the lower half of them is what any whole numbers u >= 0 make: a u that is too large gives as many of
    its steps as another step is long to a u that is below M / 2, for which as many of that step as this one is long
    come back. Such sums are all multiples of the greatest common divisor g beyond (largest / g)^2 * g. Else they are
    listed: bit k of a number says whether k is a sum, and adding a tap shifts it by each of the tap's values.
    """
    low, high = limits
    most, smallest = high - low, int(np.minimum(weights * low, weights * high).sum())
    steps = np.unique(np.abs(weights[weights != 0])).tolist()
    if not steps or not most:
        return Sums(smallest, 0, 1, np.zeros(1, np.int64))
    step = math.gcd(*steps)
    span, regular = most * int(np.abs(weights).sum()), (steps[-1] // step) ** 2 + 1
    if most >= 2 * steps[-1] and span // step >= 2 * regular:
        bits, mask = 1, (1 << (regular + 1)) - 1
        for each in steps:
            moved = each // step
            while moved <= regular:
                bits, moved = (bits | bits << moved) & mask, 2 * moved
        return Sums(smallest, span, step, step * _set_bits(bits))
    bits = 1
    for each in (np.abs(weights[weights != 0]) // step).tolist():
        made = 1
        while made <= most:  # `made` values of the tap are in; as many again by one more shift
            more = min(made, most + 1 - made)
            bits |= bits << (more * each)
            made += more
    return Sums(smallest, span, step, step * _set_bits(bits))


def _set_bits(bits: int) -> np.ndarray:
    raw = np.frombuffer(bits.to_bytes(bits.bit_length() // 8 + 1, "little"), np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little"))


def solve(weights: np.ndarray, limits: tuple[int, int], target: int, draws: Draws) -> np.ndarray | None:
    """Values v within limits with sum v * w = target, or None where none are found.

    weights : (T,) int64
    limits  : of v, both ends included

    All taps but three take a share that comes near; the last three are tried out.
    """
    low, high = limits
    live = np.flatnonzero(weights)
    v = np.clip(np.zeros(len(weights), np.int64), low, high)
    w = weights[live]
    at_least, at_most = np.where(w > 0, low, high), np.where(w > 0, high, low)
    smallest, largest = int(w @ at_least), int(w @ at_most)
    if not smallest <= target <= largest:
        return None
    if not len(live):
        return v
    share = (target - smallest) / max(1, largest - smallest)
    slack = min(share, 1 - share) * (high - low) / 2
    order = np.argsort(np.abs(w), kind="stable")
    for width in WIDTHS if len(w) > 2 else (high - low + 1,):
        near = at_least + share * (at_most - at_least) + slack * draws.uniform(w.shape).astype(np.float64)
        chosen = np.clip(np.rint(near), low, high).astype(np.int64)
        last = int(draws.choice(order[:4], (1,))[0])
        others = [k for k in np.argsort(draws.words(len(w)), kind="stable").tolist() if k != last][:2]
        rest = target - int(w @ chosen) + int(w[[last, *others]] @ chosen[[last, *others]])
        tried = [_around(int(chosen[k]), low, high, width) for k in others]
        left = np.array([rest])
        for k, values in zip(others, tried, strict=True):
            left = (left[:, None] - w[k] * values).ravel()
        value = left // w[last]
        fits = np.flatnonzero((value * w[last] == left) & (low <= value) & (value <= high))
        if len(fits):
            found = int(draws.choice(fits, (1,))[0])
            chosen[last] = value[found]
            for k, values, place in zip(others, tried, np.unravel_index(found, [len(x) for x in tried] or (1,)),
                                        strict=False):
                chosen[k] = values[place]
            v[live] = chosen
            return v
    return None


def _around(middle: int, low: int, high: int, width: int) -> np.ndarray:
    """`width` values around the middle, within the limits."""
    first = max(low, min(middle - width // 2, high - width + 1))
    return np.arange(first, min(high, first + width - 1) + 1)
