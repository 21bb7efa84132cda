"""Random small integer networks of all operators, most of which no U-Net draws, with an input."""

from __future__ import annotations

import math

import numpy as np

from npunet.geometry import output_size_2d, same_pads_2d
from npunet.integer import parameters
from npunet.integer.bounds import check_accumulators
from npunet.integer.check import check_network
from npunet.integer.network import DTYPES, LIMITS, Network, Node, Tensor
from npunet.integer.ops.norm import layer_norm_parameters
from npunet.integer.ops.table import table_of

CHANNELS = (1, 2, 3, 5, 7, 8, 9, 12, 16, 17, 26)
MOTIFS = ("conv", "conv", "conv", "depthwise", "separable", "residual", "residual", "pool", "mean", "upsample",
          "concat", "add", "rescale", "leaky", "table", "softmax", "layer_norm")


class Drawing:
    """One network while it is drawn: operators by method, each of a tensor, and returning the name of its result."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.scheme = str(rng.choice(list(DTYPES), p=(0.7, 0.3)))
        self.dtype = DTYPES[self.scheme]
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.last = self.tensor((*self.pair(1, 7, 9), self.pick(CHANNELS))).name

    def often(self, share):
        return self.rng.random() < share

    def pick(self, values):
        return values[self.rng.integers(len(values))]

    def pair(self, low, high, wide=None):
        return int(self.rng.integers(low, high + 1)), int(self.rng.integers(low, (wide or high) + 1))

    def tensor(self, shape, like: Tensor | None = None) -> Tensor:
        """A new tensor, of the scale and zero point of another or of random ones."""
        name = f"t{len(self.tensors)}"
        scale = float(np.float32(math.exp(self.rng.normal(-3, 0.7))))
        zero = int(self.rng.choice((0, -128, int(self.rng.integers(-128, 128))))) if self.dtype == "int8" else 0
        made = Tensor(name, tuple(shape), self.dtype, like.scale if like else scale, like.zero_point if like else zero)
        self.tensors[name] = made
        return made

    def done(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def clamp(self):
        return self.pick((None, "relu", "relu6"))

    def convolve(self, name, op, kernel, filters, stride=(1, 1), dilation=(1, 1), clamp=None):
        x = self.tensors[name]
        channels = x.shape[2]
        padding = self.pick(("same", "same", "valid"))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if padding == "valid" and (reach[0] > x.shape[0] or reach[1] > x.shape[1]):
            padding = "same"
        pads = same_pads_2d(x.shape[:2], kernel, stride, dilation) if padding == "same" else ((0, 0), (0, 0))
        out = channels * filters if op == "depthwise_conv2d" else filters
        taps = kernel[0] * kernel[1] * (1 if op == "depthwise_conv2d" else channels)
        y = self.tensor((*output_size_2d(x.shape[:2], kernel, stride, pads, dilation), out))
        weights = self.rng.integers(-127, 128, (*kernel, channels, filters)).astype(np.int8)
        wanted = y.scale * 100 / (60 * 70 * math.sqrt(taps) * x.scale)  # of the weights, for outputs that vary
        scales = (wanted * np.exp(self.rng.normal(0, 1.5 if self.often(0.3) else 0.5, out))).astype(np.float32)
        wide = self.dtype == "int16" and self.often(0.8)
        bias = self.rng.integers(-9000, 9000, out).astype(np.int64 if wide else np.int32)
        return self.done(parameters.convolution(op, x, y, weights, bias, scales, stride=stride, pads=pads,
                                                dilation=dilation, padding=padding, clamp=clamp))

    def conv(self, name):
        kernel = (3, 3) if self.often(0.4) else self.pair(1, 4, 5)
        stride = self.pair(1, 3) if self.often(0.3) else (1, 1)
        dilation = self.pair(1, 3) if stride == (1, 1) and self.often(0.3) else (1, 1)
        return self.convolve(name, "conv2d", kernel, self.pick(CHANNELS), stride, dilation, self.clamp())

    def depthwise(self, name):
        multiplier = 2 if self.often(0.2) else 1
        kernel = self.pick(((1, 3), (3, 3), (1, 5), (5, 5), (2, 4), (1, 1)))
        stride = self.pair(1, 2) if self.often(0.3) else (1, 1)
        return self.convolve(name, "depthwise_conv2d", kernel, multiplier, stride, (1, 1), self.clamp())

    def separable(self, name):
        return self.convolve(self.depthwise(name), "conv2d", (1, 1), self.pick(CHANNELS), clamp=self.clamp())

    def residual(self, name):
        filters = self.pick(CHANNELS)
        main = self.convolve(name, "conv2d", (1, 1), filters, clamp=self.clamp())
        x = self.tensors[name]
        other = self.convolve(name, "conv2d", (1, 1), filters) if self.often(0.8) else main
        pair = (main, other) if self.often(0.5) else (other, main)
        y = self.tensor((*x.shape[:2], filters))
        return self.done(parameters.addition(*(self.tensors[each] for each in pair), y, clamp=self.clamp()))

    def add(self, name):
        fits = [t.name for t in self.tensors.values() if t.shape == self.tensors[name].shape]
        a, b = self.tensors[self.pick(fits)], self.tensors[name]
        return self.done(parameters.addition(a, b, self.tensor(a.shape), clamp=self.clamp()))

    def pool(self, name, op="max_pool2d"):
        x, window, stride = self.tensors[name], self.pair(1, 4), self.pair(1, 3)
        pads = same_pads_2d(x.shape[:2], window, stride)
        y = self.tensor((*output_size_2d(x.shape[:2], window, stride, pads), x.shape[2]), x)
        return self.done(parameters.pooling(op, x, y, window=window, stride=stride, pads=pads, padding="same",
                                            clamp=self.clamp()))

    def mean(self, name):
        return self.pool(name, "avg_pool2d")

    def upsample(self, name):
        x, factor = self.tensors[name], self.pair(1, 3)
        if x.shape[0] * x.shape[1] > 60:
            return name
        y = self.tensor((x.shape[0] * factor[0], x.shape[1] * factor[1], x.shape[2]), x)
        return self.done(parameters.upsampling(x, y, factor))

    def concat(self, name):
        x = self.tensors[name]
        parts = [self.upsample(self.rescale(self.conv(name))) for _ in range(int(self.rng.integers(1, 3)))]
        parts = [each for each in parts if self.tensors[each].shape[:2] == x.shape[:2]] + [name]
        made = [self.done(parameters.rescaling(self.tensors[each], self.tensor(self.tensors[each].shape, x)))
                for each in parts]
        y = self.tensor((*x.shape[:2], sum(self.tensors[each].shape[2] for each in made)), x)
        return self.done(parameters.concatenation(tuple(self.tensors[each] for each in made), y))

    def rescale(self, name):
        x = self.tensors[name]
        return self.done(parameters.rescaling(x, self.tensor(x.shape)))

    def leaky(self, name):
        x = self.tensors[name]
        return self.done(parameters.leaky_relu(x, self.tensor(x.shape), self.pick((0.0, 0.1, 0.3, 1.0))))

    def table(self, name):
        x = self.tensors[name]
        y = self.tensor(x.shape)
        entries = table_of(math.tanh, x.scale, x.zero_point, y.scale, y.zero_point, self.dtype)
        return self.done(Node(y.name, "table", (name,), arrays={"table": entries}))

    def softmax(self, name):
        x = self.tensors[name]
        scale, zero = parameters.softmax_output(self.dtype)
        y = Tensor(f"t{len(self.tensors)}", x.shape, self.dtype, scale, zero)
        self.tensors[y.name] = y
        return self.done(parameters.softmaxing(x, y, lut=self.pick(("f32", "f64"))))

    def layer_norm(self, name):
        x = self.tensors[name]
        y = self.tensor(x.shape)
        gamma, beta = self.rng.normal(0, 1, (2, *x.shape[:2]))
        attrs, arrays, scales = layer_norm_parameters(gamma, beta, 1e-3, x.scale, y.scale, self.dtype)
        low, high = LIMITS[self.dtype]
        attrs |= {"output_offset": y.zero_point, "act_min": low, "act_max": high}
        return self.done(Node(y.name, "layer_norm", (name,), attrs, arrays, scales))


def random_network(seed: int) -> tuple[Network, np.ndarray]:
    """(network, three samples), the same for the same seed; accumulators within their bits."""
    for attempt in range(50):
        rng = np.random.default_rng((seed, attempt))
        drawing = Drawing(rng)
        first = last = drawing.last
        for _ in range(int(rng.integers(1, 7))):
            source = last if rng.random() < 0.8 else drawing.pick(list(drawing.tensors))
            last = getattr(drawing, drawing.pick(MOTIFS))(source)
        if last == first:
            continue
        tensors = drawing.tensors
        network = Network(drawing.scheme, drawing.pick(("D", "D", "S")), first, last, tensors, tuple(drawing.nodes),
                          tensors[first].shape, tensors[last].shape)
        try:
            check_network(network)
            check_accumulators(network)
        except ValueError:
            continue
        low, high = LIMITS[drawing.dtype]
        return network, rng.integers(low, high + 1, (3, *tensors[first].shape)).astype(drawing.dtype)
    raise AssertionError(f"seed {seed} draws no network")
