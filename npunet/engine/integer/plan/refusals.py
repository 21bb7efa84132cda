"""What the integer kernels cannot do is refused before anything is planned; the NumPy operators do it all."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from npunet.integer.bounds import check_accumulators
from npunet.integer.network import Network, Node
from npunet.limits import Unsupported

SAME_ZERO = ("max_pool2d", "avg_pool2d", "concat", "upsample_nearest2d")  # copy integers
TAPS = 2**16  # |weights| of one filter's tap that 16 bits times keep within 32


def refuse(node: Node, reason: str) -> NoReturn:
    """Raise Unsupported for a node."""
    raise Unsupported(f"{node.name}: the integer engine {reason}; use backend='numpy'")


def check(network: Network) -> None:
    """Raise Unsupported for the first node that the kernels cannot do, ValueError for an accumulator that could leave
    its bits."""
    check_accumulators(network)
    for node in network:
        offsets_are_zero_points(network, node)
        if node.op in ("conv2d", "depthwise_conv2d"):
            sums_of_taps_fit(network, node)
        elif node.op == "add":
            addition_fits(network, node)
        elif node.op in ("rescale", "leaky_relu"):
            shifts = [value for key, value in node.attrs.items() if key.endswith("shift")]
            if max(shifts) > (31 - 9 if network.scheme == "int8" else 31 - 17):
                refuse(node, f"has no room for a left shift of {max(shifts)}")


def offsets_are_zero_points(network: Network, node: Node) -> None:
    """What is stored is q - zero point: offsets must be just those."""
    zeros = [network.tensors[name].zero_point for name in node.inputs]
    zero, attrs = network.tensors[node.name].zero_point, node.attrs
    offsets = [attrs[key] for key in ("input_offset", "input1_offset", "input2_offset") if key in attrs]
    if any(offset != -z for offset, z in zip(offsets, zeros, strict=False)) or attrs.get("output_offset", zero) != zero:
        refuse(node, f"takes offsets that are its tensors' zero points, not {offsets}")
    if node.op in SAME_ZERO and set(zeros) != {zero}:
        refuse(node, f"copies between equal zero points, not {zeros} and {zero}")
    if node.op == "softmax" and zero != -128:
        refuse(node, f"writes a softmax with zero point -128, not {zero}")


def sums_of_taps_fit(network: Network, node: Node) -> None:
    """The sum of one tap of a kernel, and of a whole depthwise kernel, stays within 32 bits."""
    weights = np.abs(node.arrays["weights"].astype(np.int64))
    most = weights.sum((0, 1)).max() if node.op == "depthwise_conv2d" else weights.sum(2).max()
    if node.arrays["bias"].dtype == np.int64 and most >= TAPS:
        refuse(node, f"sums at most {TAPS:,} in |weights| of a tap, not {int(most):,}")


def addition_fits(network: Network, node: Node) -> None:
    """Both operands shrink, as in every addition of TensorFlow Lite; what they add up to does."""
    attrs, left = node.attrs, 20 if network.scheme == "int8" else 15
    for number in (1, 2):
        factor = attrs[f"input{number}_multiplier"] / 2**31 * 2.0 ** attrs[f"input{number}_shift"]
        if factor > 0.5 or attrs[f"input{number}_shift"] > 0:
            refuse(node, f"adds operands with factors of at most 1/2, not {factor:g}")
    if attrs["left_shift"] != left or attrs["output_shift"] >= 0:
        shifts = attrs["left_shift"], attrs["output_shift"]
        refuse(node, f"adds with a left shift of {left} and an output factor below 1/2, not with shifts {shifts}")
