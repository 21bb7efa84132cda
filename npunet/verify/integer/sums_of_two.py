"""Which pair of values tells two roundings of an add apart, if any does: decided, not drawn.

The input of the larger scale has the factor 1/2, so its part of the sum is a whole multiple of `unit`, whatever the
rounding. The other input's part has one of 2^16 values, and its remainder modulo the unit is the sum's. The output
steps up at one sum for each level, so two roundings differ at sums near a step or nowhere: those whose remainder some
value of the other input has are looked at, all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from npunet.integer.bounds import input_limits
from npunet.integer.network import Network, Node
from npunet.verify.integer.hypotheses.rounding import Rule, of_profile

NEAR = 3  # sums on either side of a step that are looked at


def larger(node: Node) -> int:
    """Which input of an add, 0 or 1, has the larger scale, and so the factor 1/2."""
    return 0 if (node.attrs["input1_multiplier"], node.attrs["input1_shift"]) == (2**30, 0) else 1


def differing_pair(node: Node, network: Network, rule: Rule) -> tuple[int, int] | bool | None:
    """Values of both inputs for which another rounding gives another output; False where there are none.

    rule : in place of the network's rounding, in all three requantisations

    None where that is not decided: a rule that is further off than NEAR, which any values show.
    """
    a, large = node.attrs, larger(node)
    unit, right = 1 << (a["left_shift"] - 1), of_profile(network.rounding)
    limits = [input_limits(network, name) for name in node.inputs]
    offsets = a["input1_offset"], a["input2_offset"]
    (low_a, high_a), (low_b, high_b) = limits[large], limits[1 - large]
    whole = (np.arange(low_a, high_a + 1) + offsets[large]) << a["left_shift"]
    if not np.array_equal(rule(whole, 2**30, 0), whole >> 1):
        return None
    values = np.arange(low_b, high_b + 1)
    factor = a[f"input{2 - large}_multiplier"], a[f"input{2 - large}_shift"]
    part, other = (of((values + offsets[1 - large]) << a["left_shift"], *factor) for of in (right, rule))

    def output(of: Rule, sums: np.ndarray) -> np.ndarray:
        made = of(sums, a["output_multiplier"], a["output_shift"]) + a["output_offset"]
        return np.clip(made, a["act_min"], a["act_max"])

    ends = (np.array([low_a, high_a]) + offsets[large]) * unit + np.array([part.min() - NEAR, part.max() + NEAR])
    lowest, highest = output(right, ends).tolist()
    levels = np.arange(lowest + 1, highest + 1)
    steps = _steps(lambda sums: output(right, sums), levels, a)
    near = (steps[:, None] + np.arange(-NEAR, NEAR + 1)).ravel()
    wanted = output(right, near)
    for off in sorted(set((other - part).tolist())):
        if (output(rule, steps - NEAR - 1 + off) >= levels).any() or (output(rule, steps + NEAR + off) < levels).any():
            return None
        shown = near[wanted != output(rule, near + off)]
        for b, total in _pairs(shown, part, np.flatnonzero(other - part == off), unit):
            first = (total - part[b]) // unit - offsets[large]
            fits = np.flatnonzero((low_a <= first) & (first <= high_a))
            if len(fits):
                pair = int(first[fits[0]]), int(values[b[fits[0]]])
                return pair if large == 0 else pair[::-1]
    return False


def _pairs(sums: np.ndarray, part: np.ndarray, which: np.ndarray, unit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(numbers of values, sums) that have one remainder modulo the unit; of the values `which`."""
    order = which[np.argsort(part[which] % unit, kind="stable")]
    remainders = part[order] % unit
    first, last = (np.searchsorted(remainders, sums % unit, side) for side in ("left", "right"))
    for step in range(int((last - first).max(initial=0))):
        there = first + step < last
        yield order[(first + step)[there]], sums[there]


def _steps(output: Callable[[np.ndarray], np.ndarray], levels: np.ndarray, a: Mapping[str, Any]) -> np.ndarray:
    """The smallest sum that reaches each level."""
    factor = a["output_multiplier"] * 2.0 ** (a["output_shift"] - 31)
    least = np.ceil((levels - a["output_offset"] - 0.5) / factor).astype(np.int64) - NEAR
    most = least + 2 * NEAR + 1
    if (output(least) >= levels).any() or (output(most) < levels).any():
        raise ArithmeticError("an add's output does not step where its factor says")
    while (most - least > 1).any():
        middle = (least + most) >> 1
        reached = output(middle) >= levels
        least, most = np.where(reached, least, middle), np.where(reached, middle, most)
    return most
