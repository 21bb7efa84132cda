"""Random small graphs of all operators, most of which no U-Net draws, with weights and an input."""

from __future__ import annotations

from math import prod

import numpy as np

from npunet.geometry import effective_kernel, output_size_2d, same_pads_2d
from npunet.graph import Graph, GraphBuilder, WeightSpec
from npunet.params import ACTIVATIONS

CHANNELS = (1, 2, 3, 5, 7, 8, 9, 16, 17)
MOTIFS = ("conv", "conv", "conv", "norm_act", "separable", "halves", "residual", "unpooled", "pool", "upsample",
          "act", "softmax", "layer_norm", "dropout", "concat", "add", "batch_norm", "avg_pool", "depthwise")
TRAINABLE = (*("conv", "norm_act", "separable", "residual", "unpooled", "pool", "upsample", "act", "layer_norm",
               "dropout") * 2, "batch_norm", "add")


class Drawing:
    """One graph while it is drawn: operators by method, each of a tensor, and returning the name of its result.

    odd : whether attributes take values that only some ways of running a graph have: strides, depth multipliers,
          pads that change the size, three tensors to join, other axes and constants of norms
    """

    def __init__(self, rng: np.random.Generator, odd: bool) -> None:
        self.rng, self.odd = rng, odd
        size = (int(rng.integers(1, 7)), int(rng.integers(1, 10)), int(rng.choice(CHANNELS)))
        self.net = GraphBuilder(size)
        self.count = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def often(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, values):
        return values[self.rng.integers(len(values))]

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return tuple(int(value) for value in self.rng.integers(low, high + 1, 2))

    def strange(self) -> bool:
        """Whether one attribute of an odd graph takes a strange value."""
        return self.odd and self.often(0.3)

    def tensor(self, size: tuple[int, int] | None = None, shape: tuple[int, int, int] | None = None) -> str | None:
        """A tensor drawn so far: mostly the last, sometimes any; with that size or shape, or None."""
        fits = [name for name in (self.net.input, *self.net.nodes)
                if (size is None or self.net.shape(name)[:2] == size) and shape in (None, self.net.shape(name))]
        if not fits:
            return None
        return fits[-1] if self.often(0.7) else self.pick(fits)

    # operators

    def window(self, x: str, kernel, dilation=(1, 1)) -> dict | None:
        """stride, pads and dilation of a convolution, and the size of its output; None where it does not fit."""
        height, width, _ = self.net.shape(x)
        stride, size = (1, 1), (height, width)
        pads = same_pads_2d(size, kernel, dilation=dilation)
        if self.often(0.4):  # the same size, split otherwise
            pads = tuple(self.split(sum(pair)) for pair in pads)
        if self.strange():
            stride = self.pair(1, 3)
            pads = same_pads_2d(size, kernel, stride, dilation)
        elif self.strange():
            pads = (self.pair(0, 3), self.pair(0, 3))
        if any(extent + sum(pair) < effective_kernel(*each)
               for extent, pair, each in zip(size, pads, zip(kernel, dilation, strict=True), strict=True)):
            return None
        return {"stride": stride, "pads": pads, "dilation": dilation,
                "out": output_size_2d(size, kernel, stride, pads, dilation)}

    def split(self, total: int) -> tuple[int, int]:
        before = int(self.rng.integers(total + 1))
        return before, total - before

    def kernel(self) -> tuple[int, int]:
        return (1, 1) if self.often(0.35) else self.pair(1, 3)

    def dilation(self) -> tuple[int, int]:
        return self.pair(1, 4) if self.often(0.25) else (1, 1)

    def convolution(self, op: str, x: str, kernel=None, filters: int | None = None) -> str:
        kernel, dilation, channels = kernel or self.kernel(), self.dilation(), self.net.shape(x)[2]
        where = self.window(x, kernel, dilation)
        if where is None:
            return x
        out, name = where.pop("out"), self.name(op)
        multiplier = int(self.rng.integers(2, 4)) if op != "conv2d" and self.strange() else 1
        filters = filters or int(self.pick(CHANNELS))
        if op == "conv2d":
            weights = [WeightSpec(f"{name}/kernel", (*kernel, channels, filters), "he_normal", regularized=True)]
        else:
            spec = WeightSpec(f"{name}/depthwise_kernel", (*kernel, channels, multiplier), "he_normal")
            weights, filters = [spec], filters if op == "separable_conv2d" else channels * multiplier
        if op == "separable_conv2d":
            shape = (1, 1, channels * multiplier, filters)
            weights.append(WeightSpec(f"{name}/pointwise_kernel", shape, "he_normal"))
        if self.often(0.5) and (op != "depthwise_conv2d" or self.strange()):
            weights.append(WeightSpec(f"{name}/bias", (filters,), "zeros"))
        return self.net.add(name, op, (x,), (*out, filters), tuple(weights), **where)

    def conv(self, x: str, **how) -> str:
        return self.convolution("conv2d", x, **how)

    def depthwise(self, x: str) -> str:
        return self.convolution("depthwise_conv2d", x)

    def separable(self, x: str) -> str:
        return self.convolution("separable_conv2d", x)

    def eps(self) -> float:
        return float(self.pick([1e-5, 0.1, 1.0])) if self.odd and self.often(0.5) else 1e-3

    def batch_norm(self, x: str) -> str:
        name, channels = self.name("bn"), self.net.shape(x)[2]
        kinds = (("gamma", "ones", True), ("beta", "zeros", True), ("moving_mean", "zeros", False),
                 ("moving_variance", "ones", False))
        weights = tuple(WeightSpec(f"{name}/{kind}", (channels,), initial, trainable)
                        for kind, initial, trainable in kinds)
        return self.net.add(name, "batch_norm_inference", (x,), self.net.shape(x), weights, eps=self.eps())

    def layer_norm(self, x: str) -> str:
        name, shape = self.name("ln"), self.net.shape(x)
        axes = self.pick([(1, 2), (3,), (1,), (2,), (1, 2, 3), (2, 1), (-3, -2), (-1,)]) if self.strange() else (1, 2)
        normalised = tuple((0, *shape)[axis] for axis in sorted(axis % 4 for axis in axes))
        weights = (WeightSpec(f"{name}/gamma", normalised, "ones"), WeightSpec(f"{name}/beta", normalised, "zeros"))
        return self.net.add(name, "layer_norm", (x,), shape, weights, axes=axes, eps=self.eps())

    def act(self, x: str) -> str:
        return self.net.add(self.name("act"), self.pick(ACTIVATIONS), (x,), self.net.shape(x))

    def softmax(self, x: str) -> str:
        return self.net.add(self.name("softmax"), "softmax", (x,), self.net.shape(x))

    def dropout(self, x: str) -> str:
        return self.net.add(self.name("dropout"), "dropout_inference", (x,), self.net.shape(x), rate=0.25)

    def pool(self, x: str, op: str = "max_pool2d") -> str:
        height, width, channels = self.net.shape(x)
        window, stride = self.pair(1, 3), self.pair(1, 3)
        pads = same_pads_2d((height, width), window, stride)
        if self.often(0.3):
            pads = tuple(tuple(int(v) for v in self.rng.integers(0, size, 2)) for size in window)
        if height + sum(pads[0]) < window[0] or width + sum(pads[1]) < window[1]:
            return x
        out = output_size_2d((height, width), window, stride, pads)
        return self.net.add(self.name("pool"), op, (x,), (*out, channels), window=window, stride=stride, pads=pads)

    def avg_pool(self, x: str) -> str:
        return self.pool(x, "avg_pool2d") if self.odd else x

    def upsample(self, x: str, factor=None) -> str:
        (height, width, channels), (fy, fx) = self.net.shape(x), factor or self.pair(1, 3)
        if height * fy > 12 or width * fx > 24:
            return x
        return self.net.add(self.name("up"), "upsample_nearest2d", (x,), (height * fy, width * fx, channels),
                            factor=(fy, fx))

    def add(self, x: str, other: str | None = None) -> str:
        other = other or self.tensor(shape=self.net.shape(x))
        pair = (x, other) if self.often(0.5) else (other, x)
        return self.net.add(self.name("add"), "add", pair, self.net.shape(x))

    def concat(self, x: str) -> str:
        size = self.net.shape(x)[:2]
        joined = (x, *(self.tensor(size) for _ in range(self.pick([0, 2, 3]) if self.strange() else 1)))
        joined = tuple(joined[k] for k in self.rng.permutation(len(joined)))
        channels = sum(self.net.shape(name)[2] for name in joined)
        return self.net.add(self.name("concat"), "concat", joined, (*size, channels)) if channels < 40 else x

    # what is fused where it comes in this order

    def norm_act(self, x: str) -> str:
        return self.act(self.batch_norm(self.conv(x)))

    def halves(self, x: str) -> str:
        return self.conv(self.depthwise(x), kernel=(1, 1))

    def residual(self, x: str) -> str:
        y = self.tensor() if self.often(0.3) else self.act(self.conv(x))
        side = self.conv(x, kernel=(1, 1), filters=self.net.shape(y)[2])
        return self.add(y, side) if self.net.shape(side) == self.net.shape(y) else side

    def unpooled(self, x: str) -> str:
        factor = self.pair(1, 2)
        up = self.upsample(x, factor)
        skip = self.tensor(self.net.shape(up)[:2])
        joined = (up, skip) if self.often(0.8) else (skip, up)
        shape = (*self.net.shape(up)[:2], sum(self.net.shape(name)[2] for name in joined))
        return self.conv(self.net.add(self.name("concat"), "concat", joined, shape), kernel=(1, 1))


def draw(seed: int, trainable: bool = False) -> tuple[Graph, dict[str, np.ndarray], np.ndarray]:
    """(graph, float32 weights, float32 input of two samples): always the same for one seed."""
    rng = np.random.default_rng(seed)
    drawing = Drawing(rng, odd=seed % 3 == 0)
    result = drawing.net.input
    for _ in range(int(rng.integers(1, 8))):
        result = getattr(drawing, drawing.pick(TRAINABLE if trainable else MOTIFS))(drawing.tensor())
    if not drawing.net.nodes:
        result = drawing.conv(drawing.net.input)
    if drawing.often(0.1):
        result = drawing.tensor()
    graph = pruned(drawing.net.build(result)) if trainable or rng.random() < 0.7 else drawing.net.build(result)
    return graph, weights_of(graph, rng), input_of(graph, rng)


def pruned(graph: Graph) -> Graph:
    """The graph without what its output does not depend on."""
    needed = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed |= set(node.inputs)
    nodes = tuple(node for node in graph if node.name in needed)
    named = {name for node in nodes for name in node.weights}
    specs = {name: spec for name, spec in graph.weights.items() if name in named}
    return Graph(graph.input, graph.input_shape, nodes, specs, graph.output)


def weights_of(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    values = {}
    for name, spec in graph.weights.items():
        if len(spec.shape) == 4:
            value = rng.standard_normal(spec.shape) / np.sqrt(prod(spec.shape[:3]) if spec.shape[3] else 1)
        elif name.endswith(("gamma", "moving_variance")):
            value = rng.uniform(0.5, 1.5, spec.shape)
        else:
            value = rng.normal(0, 0.3, spec.shape)
        values[name] = value.astype(np.float32)
    return values


def input_of(graph: Graph, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, *graph.input_shape)).astype(np.float32)
