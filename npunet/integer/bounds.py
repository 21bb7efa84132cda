"""How large an accumulator can become, from the weights alone: checked before anything runs."""

from __future__ import annotations

import numpy as np

from npunet.integer.fixed_point import ACCUMULATOR_64
from npunet.integer.network import Network, Node

LIMIT_32 = 2**31


def check_accumulators(network: Network) -> None:
    """Refuse a network in which an accumulator could leave its bits, whatever the input.

    int8    : |acc| and |acc << left shift| stay below 2^31, in every order of summation
    int16x8 : |acc| stays below 2^47, which the 64-bit requantisation takes

    Raises ValueError with the layer, the channel and the bound.
    """
    for node in network:
        if node.op not in ("conv2d", "depthwise_conv2d"):
            continue
        bound = accumulator_bound(network, node)
        wide = node.arrays["bias"].dtype == np.int64
        shifted = bound if wide else bound << np.maximum(node.arrays["shift"].astype(np.int64), 0)
        limit = ACCUMULATOR_64 if wide else LIMIT_32
        worst = int(shifted.argmax())
        if shifted[worst] >= limit:
            bits = 48 if wide else 32
            raise ValueError(
                f"{node.name}: the accumulator of channel {worst} can reach {int(bound[worst]):,}, times "
                f"{int(shifted[worst]) // max(1, int(bound[worst]))} by its left shift, which does not fit in {bits} "
                "bits; use fewer taps, or calibrate so that the output's range is wider")


def accumulator_bound(network: Network, node: Node) -> np.ndarray:
    """Largest |acc| of each output channel over all inputs, and of every partial sum: (F,) int64.

    sum |w| * max(|qmin + input_offset|, |qmax + input_offset|) + |bias|, with the input's own clamp
    """
    low, high = input_limits(network, node.inputs[0])
    reach = max(abs(low + node.attrs["input_offset"]), abs(high + node.attrs["input_offset"]))
    weights = np.abs(node.arrays["weights"].astype(np.int64))
    total = weights.sum((0, 1)).ravel() if node.op == "depthwise_conv2d" else weights.sum((0, 1, 2))
    return total * reach + np.abs(node.arrays["bias"].astype(np.int64))


def input_limits(network: Network, name: str) -> tuple[int, int]:
    """Smallest and largest value that a tensor can hold: its operator's clamp, or its type's limits."""
    for node in network:
        if node.name == name and "act_min" in node.attrs:
            return node.attrs["act_min"], node.attrs["act_max"]
    return network.tensors[name].limits
