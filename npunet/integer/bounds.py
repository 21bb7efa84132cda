"""How large an accumulator can become, from the weights alone: checked before anything runs."""

from __future__ import annotations

import math

import numpy as np

from npunet.integer.fixed_point import ACCUMULATOR_64
from npunet.integer.network import Network, Node

LIMIT_32 = 2**31
MOST_SHIFT_64 = 14  # to the left, that requantize_64 has a meaning for
LARGEST_EPSILON = 60  # bits of a layer norm's epsilon: the variance beside it leaves no more
WISE_SHIFT_64 = 7  # that TensorFlow Lite's has one for


def check_accumulators(network: Network) -> None:
    """Refuse a network in which an accumulator could leave its bits, whatever the input.

    int8    : |acc| and |acc << left shift| stay below 2^31, in every order of summation
    int16x8 : |acc| stays below 2^47, which the 64-bit requantisation takes, with a left shift of at most 14

    Raises ValueError with the layer, the channel and the bound.
    """
    for node in network:
        if node.op == "layer_norm" and not 1 <= node.attrs["epsilon"] <= 2**LARGEST_EPSILON:
            raise ValueError(f"{node.name}: epsilon is {node.attrs['epsilon']}, in units of its input's scale squared; "
                             f"it must be 1 ... 2^{LARGEST_EPSILON}")
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
        most = int(node.arrays["shift"].max())
        if wide and most > MOST_SHIFT_64:
            raise ValueError(f"{node.name}: a left shift of {most} by the 64-bit requantisation, which has at most "
                             f"{MOST_SHIFT_64}; calibrate so that the output's range is wider")


def too_narrow(network: Network) -> dict[str, int]:
    """Tensors whose scale is too fine for what is done with them: by how many doublings; others are not listed.

    int8    : an output, so many that |acc << left shift| stays below 2^31
    int16x8 : so many that the left shift is at most 7 and the result, before its clamp, fits in 32 bits
    both    : the input of a layer norm, so many that its epsilon, in units of that scale squared, is at most 2^60
    """
    found: dict[str, int] = {}
    for node in network:
        if node.op == "layer_norm":
            doublings = math.ceil((math.log2(node.attrs["epsilon"]) - LARGEST_EPSILON) / 2)
            if doublings > 0:
                found[node.inputs[0]] = max(doublings, found.get(node.inputs[0], 0))
        if node.op not in ("conv2d", "depthwise_conv2d"):
            continue
        shift = np.where(node.arrays["multiplier"] > 0, node.arrays["shift"], -31)
        beyond = int((shift + np.ceil(np.log2(accumulator_bound(network, node) + 1.0))).max()) - 31
        wide = node.arrays["bias"].dtype == np.int64
        doublings = max(beyond, int(shift.max()) - WISE_SHIFT_64) if wide else min(beyond, int(shift.max()))
        if doublings > 0:
            found[node.name] = max(doublings, found.get(node.name, 0))
    return found


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
