"""Layers: an operator with its weights, its shape arithmetic and the reference's name, added to a graph.

Each function draws one layer, returns the name of its output, and knows nothing of the network around it.
Source of the details (which convolution has a bias, what is regularised, epsilon): neuralspot-edge 0.2.2, Keras 3.
"""

from __future__ import annotations

from npunet.geometry import Pair, output_size_2d, same_pads_2d
from npunet.graph import GraphBuilder, WeightSpec

NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.99
L2_FACTOR = 1e-3


def conv(net: GraphBuilder, name: str, x: str, filters: int, kernel: Pair, *, dilation: Pair = (1, 1),
         bias: bool) -> str:
    """Dense convolution, SAME, stride 1."""
    height, width, channels = net.shape(x)
    weights = [_kernel(f"{name}/kernel", (*kernel, channels, filters))]
    if bias:
        weights.append(_zeros(f"{name}/bias", filters))
    pads = same_pads_2d((height, width), kernel, dilation=dilation)
    return net.add(name, "conv2d", (x,), (height, width, filters), tuple(weights),
                   stride=(1, 1), pads=pads, dilation=dilation)


def separable_conv(net: GraphBuilder, name: str, x: str, filters: int, kernel: Pair, *, dilation: Pair = (1, 1),
                   bias: bool) -> str:
    """Depthwise then 1x1 convolution, nothing between, one bias at the end; SAME, stride 1."""
    height, width, channels = net.shape(x)
    weights = [
        _kernel(f"{name}/depthwise_kernel", (*kernel, channels, 1)),
        _kernel(f"{name}/pointwise_kernel", (1, 1, channels, filters)),
    ]
    if bias:
        weights.append(_zeros(f"{name}/bias", filters))
    pads = same_pads_2d((height, width), kernel, dilation=dilation)
    return net.add(name, "separable_conv2d", (x,), (height, width, filters), tuple(weights),
                   stride=(1, 1), pads=pads, dilation=dilation)


def norm(net: GraphBuilder, name: str, x: str, kind: str | None) -> str:
    """Batch norm ("<name>.bn"), layer norm over height and width ("<name>.ln"), or nothing."""
    height, width, channels = shape = net.shape(x)
    if kind == "batch":
        layer = f"{name}.bn"
        of_channels = (
            WeightSpec(f"{layer}/gamma", (channels,), "ones"),
            WeightSpec(f"{layer}/beta", (channels,), "zeros"),
            WeightSpec(f"{layer}/moving_mean", (channels,), "zeros", trainable=False),
            WeightSpec(f"{layer}/moving_variance", (channels,), "ones", trainable=False),
        )
        return net.add(layer, "batch_norm_inference", (x,), shape, of_channels, eps=NORM_EPSILON)
    if kind == "layer":
        layer = f"{name}.ln"
        weights = (
            WeightSpec(f"{layer}/gamma", (height, width), "ones"),
            WeightSpec(f"{layer}/beta", (height, width), "zeros"),
        )
        return net.add(layer, "layer_norm", (x,), shape, weights, axes=(1, 2), eps=NORM_EPSILON)
    return x


def activation(net: GraphBuilder, name: str, x: str, kind: str) -> str:
    """Elementwise nonlinearity."""
    return net.add(name, kind, (x,), net.shape(x))


def dropout(net: GraphBuilder, x: str, rate: float | None) -> str:
    """Dropout with one mask value an element, or nothing without a rate; named as Keras counts them."""
    if rate is None:
        return x
    earlier = sum(node.op == "dropout_inference" for node in net.nodes.values())
    name = f"dropout_{earlier}" if earlier else "dropout"
    return net.add(name, "dropout_inference", (x,), net.shape(x), rate=rate)


def add(net: GraphBuilder, name: str, x: str, residual: str) -> str:
    """Sum of two tensors of one shape."""
    return net.add(name, "add", (x, residual), net.shape(x))


def concat(net: GraphBuilder, name: str, x: str, skip: str) -> str:
    """Channels of x, then those of skip."""
    height, width, channels = net.shape(x)
    return net.add(name, "concat", (x, skip), (height, width, channels + net.shape(skip)[2]))


def max_pool(net: GraphBuilder, name: str, x: str, window: Pair, stride: Pair) -> str:
    """Max-pooling, SAME."""
    height, width, channels = net.shape(x)
    pads = same_pads_2d((height, width), window, stride)
    out = output_size_2d((height, width), window, stride, pads)
    return net.add(name, "max_pool2d", (x,), (*out, channels), window=window, stride=stride, pads=pads)


def upsample(net: GraphBuilder, name: str, x: str, factor: Pair) -> str:
    """Nearest-neighbour upsampling by whole factors."""
    height, width, channels = net.shape(x)
    return net.add(name, "upsample_nearest2d", (x,), (height * factor[0], width * factor[1], channels), factor=factor)


def softmax(net: GraphBuilder, name: str, x: str) -> str:
    """Softmax over the channels."""
    return net.add(name, "softmax", (x,), net.shape(x))


def _kernel(name: str, shape: tuple[int, ...]) -> WeightSpec:
    return WeightSpec(name, shape, "he_normal", regularized=True)


def _zeros(name: str, size: int) -> WeightSpec:
    return WeightSpec(name, (size,), "zeros")
