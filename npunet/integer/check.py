"""Whether an integer network is one: every name known, every shape following from the one before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.geometry import output_size_2d
from npunet.integer.fixed_point import ROUNDINGS
from npunet.integer.network import DTYPES, Network, Node, Shape
from npunet.integer.ops.table_of_operators import OPERATORS

LARGEST = 2**28  # values of one tensor


def check_network(network: Network) -> None:
    """Refuse a network that cannot run. Raises ValueError with the node and the value."""
    if network.scheme not in DTYPES or network.rounding not in ROUNDINGS:
        raise ValueError(f"scheme {network.scheme!r} with rounding {network.rounding!r} is unknown")
    for tensor in network.tensors.values():
        if tensor.dtype != DTYPES[network.scheme]:
            raise ValueError(f"{tensor.name}: dtype {tensor.dtype!r} must be {DTYPES[network.scheme]}, as all "
                             f"activations of an {network.scheme} network")
        if len(tensor.shape) != 3 or min(tensor.shape) < 1 or _size(tensor.shape) > LARGEST:
            raise ValueError(f"{tensor.name}: shape {tensor.shape} must be three sizes from 1, of at most {LARGEST:,} "
                             "values")
        low, high = tensor.limits
        if not (np.isfinite(tensor.scale) and tensor.scale > 0 and low <= tensor.zero_point <= high):
            raise ValueError(f"{tensor.name}: scale {tensor.scale!r} must be positive and zero point "
                             f"{tensor.zero_point} within {low} ... {high}")
    known = {network.input}
    for node in network.nodes:
        check_node(network, node, known)
        known.add(node.name)
    if network.output not in known or network.input not in network.tensors:
        raise ValueError(f"no operator gives the output {network.output!r}")
    for name, view in network.views.items():
        if _size(view.shape) != _size(network.tensors[view.source].shape):
            raise ValueError(f"{name}: shape {view.shape} does not hold the values of {view.source}")
    for name, shape in ((network.input, network.input_shape), (network.output, network.output_shape)):
        if _size(shape) != _size(network.tensors[name].shape):
            raise ValueError(f"{name}: shape {shape} does not hold the values of {network.tensors[name].shape}")


def check_node(network: Network, node: Node, known: set[str]) -> None:
    """Refuse a node that reads what is not there yet, or whose arrays or output do not fit."""
    if node.op not in OPERATORS:
        raise ValueError(f"{node.name}: unknown operator {node.op!r}")
    if node.name in known or node.name not in network.tensors:
        raise ValueError(f"{node.name}: two operators write it, or nothing says what it is")
    for name in node.inputs:
        if name not in known:
            raise ValueError(f"{node.name}: reads {name!r}, which no operator before it gives")
    shapes = [network.tensors[name].shape for name in node.inputs]
    wanted = SHAPES[node.op](node, *shapes)
    if tuple(wanted) != tuple(network.tensors[node.name].shape):
        raise ValueError(f"{node.name}: its shape is {network.tensors[node.name].shape}, its operator gives "
                         f"{tuple(wanted)}")


def _convolution(node: Node, x: Shape) -> Shape:
    weights = node.arrays["weights"]
    KH, KW, C, F = weights.shape
    channels = F if node.op == "conv2d" else C * F
    if x[2] != C or weights.dtype != np.int8:
        raise ValueError(f"{node.name}: weights {weights.shape} {weights.dtype} do not fit an input of {x[2]} channels")
    for key in ("bias", "multiplier", "shift"):
        if node.arrays[key].shape != (channels,):
            raise ValueError(f"{node.name}: {key} has shape {node.arrays[key].shape}, not ({channels},)")
    out = output_size_2d(x[:2], (KH, KW), node.attrs["stride"], node.attrs["pads"], node.attrs["dilation"])
    return (*out, channels)


def _pool(node: Node, x: Shape) -> Shape:
    return (*output_size_2d(x[:2], node.attrs["window"], node.attrs["stride"], node.attrs["pads"]), x[2])


def _same(node: Node, *xs: Shape) -> Shape:
    if len(set(xs)) != 1:
        raise ValueError(f"{node.name}: inputs of shapes {xs} must have one shape")
    return xs[0]


def _concat(node: Node, *xs: Shape) -> Shape:
    if len({x[:2] for x in xs}) != 1:
        raise ValueError(f"{node.name}: inputs of shapes {xs} must have one height and width")
    return (*xs[0][:2], sum(x[2] for x in xs))


def _upsample(node: Node, x: Shape) -> Shape:
    fy, fx = node.attrs["factor"]
    return x[0] * fy, x[1] * fx, x[2]


SHAPES: dict[str, Callable[..., Shape]] = {
    "conv2d": _convolution, "depthwise_conv2d": _convolution, "max_pool2d": _pool, "avg_pool2d": _pool,
    "add": _same, "concat": _concat, "upsample_nearest2d": _upsample, "rescale": _same, "leaky_relu": _same,
    "table": _same, "softmax": _same, "softmax16": _same, "layer_norm": _same,
}


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size
