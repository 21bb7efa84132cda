"""Where a worst-case bound is too wide to judge: the port's error beside that of other orders of summation, sampled.

This is a statistical criterion and no proof. The network is run in float32 in several random orders (channels and taps
of every convolution permuted); how far these lie from the golden numbers is what an honest port may be off by. A port
whose root mean square error is more than OUTSIDE times the largest of these has something else than another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from npunet import run
from npunet.golden.draws import Draws
from npunet.golden.layer_run import split_bias
from npunet.golden.reader import Bundle
from npunet.graph import Node
from npunet.ops.windows import windows
from npunet.verify.results import Statistic

ORDERS = 8
OUTSIDE = 64.0
UNIT = 2.0**-24


class Spread:
    """The network in other orders of summation, for one case; x : its input (N, H, W, C)."""

    def __init__(self, bundle: Bundle, case: str) -> None:
        self.bundle, self.case = bundle, case

    @cached_property
    def errors(self) -> dict[str, float]:
        """Largest root mean square error over the orders, by layer id."""
        graph, names = self.bundle.graph, {layer["name"]: key for key, layer in self.bundle.layers.items()}
        largest = dict.fromkeys(names.values(), 0.0)
        for number in range(ORDERS):
            draws = Draws(number, "order of summation")
            for name, out in _run(self.bundle, self.bundle.tensor(self.case, "in"), draws):
                key = names[name]
                want = self.bundle.tensor(self.case, f"{key}.out")
                largest[key] = max(largest[key], rms(out, want))
        assert set(largest) == {names[node.name] for node in graph}
        return largest

    def judge(self, layer: str, got: np.ndarray) -> Statistic:
        """The port's output of a layer against the spread."""
        want = self.bundle.tensor(self.case, f"{layer}.out")
        finite = np.isfinite(want)
        size = float(np.sqrt(np.mean(np.square(want[finite].astype(np.float64))))) if finite.any() else 0.0
        spread = max(self.errors[layer], UNIT * size)
        error = rms(got, want)
        flips = labels = None
        if want.shape[-1] > 1 and layer == self.bundle.manifest["model"]["output"]:
            flips = int(np.count_nonzero(got.argmax(-1) != want.argmax(-1)))
            labels = int(np.prod(want.shape[:-1]))
        return Statistic(self.case, layer, error, spread, ORDERS, flips, labels, error > OUTSIDE * spread)


def rms(got: np.ndarray, want: np.ndarray) -> float:
    """Root mean square of the difference where both are finite."""
    finite = np.isfinite(got) & np.isfinite(want)
    if not finite.any():
        return 0.0
    return float(np.sqrt(np.mean(np.square(got[finite].astype(np.float64) - want[finite]))))


def _run(bundle: Bundle, x: np.ndarray, draws: Draws) -> Iterator[tuple[str, np.ndarray]]:
    """Every layer's output in a random order of summation."""
    graph, weights = bundle.graph, bundle.weights
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    alive = {graph.input: x}
    for node in graph:
        with np.errstate(all="ignore"):
            alive[node.name] = reordered(node, [alive[name] for name in node.inputs], weights, draws)
        yield node.name, alive[node.name]
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0:
                del alive[name]


def reordered(node: Node, inputs: list[np.ndarray], weights: Mapping[str, np.ndarray], draws: Draws) -> np.ndarray:
    """A layer with the terms of its sums in a random order, float32; other operators as they are."""
    kernels, bias = split_bias(node, weights)
    if node.op == "conv2d":
        y = _dense(inputs[0], weights[kernels[0]], node.attrs, draws)
    elif node.op == "depthwise_conv2d":
        y = _depthwise(inputs[0], weights[kernels[0]], node.attrs, draws)
    elif node.op == "separable_conv2d":
        between = _depthwise(inputs[0], weights[kernels[0]], node.attrs, draws)
        y = _dense(between, weights[kernels[1]], {}, draws)
    else:
        return run.apply(node, iter((*inputs, *(weights[name] for name in node.weights))), "any")[0]
    return y if bias is None else y + bias


def _permuted(count: int, draws: Draws) -> np.ndarray:
    return np.argsort(draws.words(count), kind="stable")


def _dense(x: np.ndarray, w: np.ndarray, attrs: Mapping, draws: Draws) -> np.ndarray:
    order = _permuted(w.shape[2], draws)
    x, w = np.ascontiguousarray(x[..., order]), w[:, :, order]
    taps = windows(x, w.shape[:2], **attrs)
    y = np.zeros((*taps.shape_out, w.shape[3]), np.float32)
    listed = list(taps)
    for number in _permuted(len(listed), draws):
        y = y + taps[listed[number]] @ w[listed[number]]
    return y


def _depthwise(x: np.ndarray, w: np.ndarray, attrs: Mapping, draws: Draws) -> np.ndarray:
    taps = windows(x, w.shape[:2], **attrs)
    y = np.zeros((*taps.shape_out, *w.shape[2:]), np.float32)
    listed = list(taps)
    for number in _permuted(len(listed), draws):
        y = y + taps[listed[number]][..., None] * w[listed[number]]
    return y.reshape(*taps.shape_out, -1)
