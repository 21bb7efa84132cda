"""Inputs of one operator among which every fault of single values shows that can show at all.

Two functions that never fall and have one and the same step at every level are one function. So a requantisation needs
no more than two questions a level: the smallest sum that reaches it, and the one before. All hypotheses about what is
done to a sum are asked of these sums of every channel; what is equal in all of them is equal always, and
one where a hypothesis differs is a target that golden.integer.corners makes an input of. Operators of single elements
are asked of all values that there are, of an int16 add's pairs of a sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from npunet.golden.draws import Draws
from npunet.golden.integer.reach import (
    largest_norm,
    patterns,
    reach_of_accumulator,
    reachable,
    sums_of_windows,
    taps_of,
)
from npunet.golden.integer.stages import UNLIMITED
from npunet.integer.bounds import input_limits
from npunet.integer.fixed_point import requantize
from npunet.integer.network import Network, Node
from npunet.integer.ops.conv import unclamped
from npunet.verify.integer.diagnose import variants
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS
from npunet.verify.integer.hypotheses.rounding import other_rules
from npunet.verify.integer.sums_of_two import differing_pair, larger

ELEMENTWISE = ("rescale", "leaky_relu", "table")
SOME_LEVELS = 384  # of an int16 output, unless all are asked for
BESIDE = 3  # sums on either side of where a step is expected
SPANS, SOME_SPANS = 48, 8  # times that a narrow accumulator may wrap to be followed: all of them, or some
PAIRS, ROWS = 2**16, 2**12
MORE_ROWS = 16  # times that PAIRS rows of a softmax are drawn for a rare fault


@dataclass(frozen=True)
class Probe:
    """One operator asked about single values.

    evidence : `inputs` are, of a convolution, its sums without the bias, (1, 1, P, F), which a depthwise convolution
               with weights of 1 takes; of others what they read, (1, 1, P, channels)
    complete : whether two functions of single values that agree here agree everywhere
    """

    evidence: Evidence
    complete: bool

    def differences(self, names: Collection[str] | None = None) -> Iterator[tuple[str, str, np.ndarray]]:
        """(hypothesis, words, where its output is another one) of every hypothesis about single values.

        names : of these hypotheses alone
        """
        e = self.evidence
        for hypothesis in HYPOTHESES.values():
            wanted = names is None or hypothesis.name in names
            if wanted and hypothesis.of_values and hypothesis.is_for(e.node.op):
                for words, values in variants(hypothesis, e).items():
                    yield hypothesis.name, words, values != e.right


def probe(node: Node, network: Network, every: bool = False) -> Probe | None:
    """The probe of an operator, None for one that only moves values or looks at neighbourhoods.

    every : all levels of an int16 output
    """
    draws = Draws(0, f"probe {node.name}")
    limits = [input_limits(network, name) for name in node.inputs]
    if node.op in CONVOLUTIONS:
        return _of_sums(node, network, every, draws)
    if node.op in ELEMENTWISE:
        low, high = limits[0]
        return _probe(node, network, True, np.arange(low, high + 1))
    if node.op == "add":
        return _of_pairs(node, network, limits, draws)
    if node.op in ("max_pool2d", "avg_pool2d"):
        low, high = limits[0]
        alone = replace(node, attrs={**node.attrs, "window": (1, 1), "stride": (1, 1), "pads": ((0, 0), (0, 0))})
        return _probe(alone, network, True, np.arange(low, high + 1))
    if node.op == "layer_norm":
        return _of_norm(node, network)
    if node.op in ("softmax", "softmax16"):
        return _of_softmax(node, network, limits[0], draws)
    return None


def _probe(node: Node, network: Network, complete: bool, *inputs: np.ndarray) -> Probe:
    """inputs : (P,) or (P, C) each."""
    fed = tuple(x.astype(np.int64).reshape(1, 1, len(x), -1) for x in inputs)
    return Probe(Evidence(node, network, fed, np.zeros(1)), complete)


def _of_pairs(node: Node, network: Network, limits: list[tuple[int, int]], draws: Draws) -> Probe:
    """Pairs of values of an add: all, or the ends and as many as a sample holds."""
    (low, high), (low2, high2) = limits
    counts = high - low + 1, high2 - low2 + 1
    if prod(counts) <= PAIRS:
        a, b = (x.ravel() for x in np.meshgrid(np.arange(low, high + 1), np.arange(low2, high2 + 1)))
        return _probe(node, network, True, a, b)
    a, b = (draws.integers((PAIRS,), first, last + 1) for first, last in limits)
    a[: PAIRS // 4] >>= 6  # small ones: sums that no clamp cuts
    b[: PAIRS // 4] >>= 6
    a[:4], b[:4] = (low, low, high, high), (low2, high2, low2, high2)
    steps = _pairs_at_steps(node, network, limits, draws)
    a, b = (np.concatenate(both) for both in zip((a, b), steps, strict=True))
    shown = {words for _, words, where in _probe(node, network, False, a, b).differences({"rounding profile"})
             if where.any()}
    pairs = [differing_pair(node, network, rule) for words, rule in other_rules(network.rounding).items()
             if words not in shown]
    found = np.array([pair for pair in pairs if isinstance(pair, tuple)], np.int64).reshape(-1, 2)
    return _probe(node, network, False, np.r_[a, found[:, 0]], np.r_[b, found[:, 1]])


def _pairs_at_steps(node: Node, network: Network, limits: list[tuple[int, int]],
                    draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose sum on the common scale is the first at a level, or the last below: where roundings differ.

    The input of the larger scale has the factor 1/2, so that its part of the sum is its value times 2^(left shift - 1):
    the other input's part must be what the step leaves modulo that.
    """
    a, y = node.attrs, network.tensors[node.name]
    large = larger(node)
    small, unit = 1 - large, 1 << (a["left_shift"] - 1)
    offsets = a["input1_offset"], a["input2_offset"]
    values = np.arange(limits[small][0], limits[small][1] + 1)
    part = requantize((values + offsets[small]) << a["left_shift"], a[f"input{small + 1}_multiplier"],
                      a[f"input{small + 1}_shift"], network.rounding)
    order = np.argsort(part % unit, kind="stable")
    residues = (part % unit)[order]
    levels = np.arange(y.limits[0], y.limits[1] + 1)
    step = _steps(_last_of_add(node), network, levels[:, None]).ravel()
    sums = np.concatenate([step, step - 1])
    first, count = np.searchsorted(residues, sums % unit), np.searchsorted(residues, sums % unit, "right")
    there = count > first
    chosen = order[(first + draws.words(len(sums)).astype(np.int64) % 2**31 % np.maximum(count - first, 1))[there]]
    other = (sums[there] - part[chosen]) // unit - offsets[large]
    fits = (limits[large][0] <= other) & (other <= limits[large][1])
    found = values[chosen[fits]], other[fits]
    return found if small == 0 else found[::-1]


def unseen_norms(node: Node, network: Network, x: np.ndarray, among: Collection[str] | None) -> set[str]:
    """The faulty layer norms, in words, that give the right integers for x (N, H, W, C); among : these alone."""
    given = Evidence(node, network, (x,), np.zeros(1))
    return {words for words, values in variants(HYPOTHESES["layer norm"], given).items()
            if (among is None or words in among) and np.array_equal(values, given.right)}


def _next_of(parts: np.ndarray, sums: np.ndarray, a: Mapping[str, Any]) -> np.ndarray:
    """The smallest sums, at least those given, whose remainder is one of `parts` (in order), as an add's are."""
    unit = 1 << (a["left_shift"] - 1)
    at = np.searchsorted(parts, sums % unit)
    return sums - sums % unit + np.where(at < len(parts), parts[at % len(parts)], unit + parts[0])


def _last_of(parts: np.ndarray, sums: np.ndarray, a: Mapping[str, Any]) -> np.ndarray:
    """The largest ones, at most those given."""
    unit = 1 << (a["left_shift"] - 1)
    at = np.searchsorted(parts, sums % unit, "right") - 1
    return sums - sums % unit + np.where(at >= 0, parts[at], parts[-1] - unit)


def _of_norm(node: Node, network: Network) -> Probe:
    """What becomes of a layer norm's sums at the clamps; complete for hypotheses about these alone.

    With one position a channel, a convolution of that many channels has these sums.
    """
    gamma, beta = (node.arrays[key].astype(np.int64).ravel() for key in ("gamma", "beta"))
    most = largest_norm(node)
    y, a = network.tensors[node.name], node.attrs
    alone = _one_by_one(node, {"bias": beta, "multiplier": np.full(gamma.size, a["multiplier"]),
                               "shift": np.full(gamma.size, a["shift"])})
    ends = np.unique([end + k for end in (*y.limits, a["act_min"], a["act_max"], a["output_offset"], 0, 6)
                      for k in (-1, 0, 1)])
    steps = _steps(alone, network, np.tile(ends[:, None], gamma.size)) - beta
    span = np.abs(gamma) * most
    sums = np.clip(np.concatenate([steps, steps - 1, span[None], -span[None]]), -span, span)
    return Probe(Evidence(alone, network, (sums[None, None],), np.zeros(1), 0), True)


def _one_by_one(node: Node, arrays: Mapping[str, np.ndarray]) -> Node:
    """A depthwise convolution with weights of 1, which hands on its input as sums; arrays : its other ones."""
    alone = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1), "input_offset": 0}
    kept = {key: node.attrs[key] for key in ("output_offset", "act_min", "act_max")}
    return Node(node.name, "depthwise_conv2d", node.inputs, alone | kept,
                {**arrays, "weights": np.ones((1, 1, len(arrays["bias"]), 1), np.int8)}, node.scales)


def _last_of_add(node: Node) -> Node:
    """The requantisation of an add's sum, with the arrays that a convolution of one channel has."""
    return Node(node.name, "rescale", node.inputs[:1], {"output_offset": node.attrs["output_offset"]}, {
        "multiplier": np.array([node.attrs["output_multiplier"]]), "shift": np.array([node.attrs["output_shift"]]),
        "bias": np.zeros(1, np.int32)})


def parts_of_add(node: Node, network: Network) -> tuple[Probe, ...]:
    """The three requantisations of an add by themselves, each as a rescale: of either input, and of their sum."""
    a, y = node.attrs, network.tensors[node.name]
    found, ends = [], []
    for number, name in enumerate(node.inputs, 1):
        low, high = input_limits(network, name)
        values = (np.arange(low, high + 1) + a[f"input{number}_offset"]) << a["left_shift"]
        factor = {"multiplier": a[f"input{number}_multiplier"], "shift": a[f"input{number}_shift"]}
        part = Node(node.name, "rescale", (name,), {"input_offset": 0, "output_offset": 0, **factor,
                                                    "act_min": -UNLIMITED, "act_max": UNLIMITED})
        found.append(_probe(part, network, True, values))
        ends.append(found[-1].evidence.right[0, 0, [0, -1], 0])
    low, high = ends[0] + ends[1]
    step = _steps(_last_of_add(node), network, np.arange(y.limits[0] - 2, y.limits[1] + 4)[:, None]).ravel()
    parts = np.unique(found[1 - larger(node)].evidence.right % (1 << (a["left_shift"] - 1)))
    sums = np.unique(np.clip(np.r_[_next_of(parts, step, a), _last_of(parts, step - 1, a), low, high], low, high))
    last = Node(node.name, "rescale", node.inputs[:1], {
        "input_offset": 0, "multiplier": a["output_multiplier"], "shift": a["output_shift"],
        **{key: a[key] for key in ("output_offset", "act_min", "act_max")}})
    return (*found, _probe(last, network, True, sums))


def _of_softmax(node: Node, network: Network, limits: tuple[int, int], draws: Draws) -> Probe:
    """Rows of logits: of few classes all that are not the same but for their maximum; else some, and more where some
    hypothesis still gives what is right."""
    classes, (low, high) = network.tensors[node.name].shape[2], limits
    if (high - low + 1) ** (classes - 1) <= PAIRS:
        others = np.stack(np.meshgrid(*[np.arange(low, high + 1)] * (classes - 1)), -1).reshape(-1, classes - 1)
        rows = np.concatenate([np.insert(others, k, high, 1) for k in range(classes)])
        return _probe(node, network, True, rows)
    rows = _rows(classes, limits, draws)
    names = {name for name, hypothesis in HYPOTHESES.items() if node.op in hypothesis.ops}
    for _ in range(MORE_ROWS):
        asked = _probe(node, network, False, rows)
        hidden = {(name, words) for name, words, where in asked.differences(names) if not where.any()}
        if not hidden:
            break
        drawn = _probe(node, network, False, draws.integers((PAIRS, classes), low, high + 1))
        for name, words, where in drawn.differences({name for name, _ in hidden}):
            if (name, words) in hidden and where.any():
                rows = np.concatenate([rows, drawn.evidence.inputs[0][0, 0][np.flatnonzero(where.any((0, 1, 3)))[:1]]])
    return _probe(node, network, False, rows)


def _rows(classes: int, limits: tuple[int, int], draws: Draws) -> np.ndarray:
    """Rows of logits (ROWS, classes): all equal, one far above the others, anything, close together."""
    low, high = limits
    rows = draws.integers((ROWS, classes), low, high + 1)
    rows[0], rows[1], rows[2] = low, high, 0
    rows[3], rows[4] = low, high
    rows[3, -1], rows[4, 0] = high, low
    for number, part in enumerate(np.array_split(rows[5:], 5)):
        middle = part[:, :1].copy()
        part[:] = np.clip(middle + ((part - middle) >> (2 * number)), low, high)
    return rows


def _of_sums(node: Node, network: Network, every: bool, draws: Draws) -> Probe:
    arrays, y = node.arrays, network.tensors[node.name]
    bias = arrays["bias"].astype(np.int64)
    low, high = sums_of_windows(node, network)  # (F,) each, without the bias
    levels = np.arange(y.limits[0] - 2, y.limits[1] + 4)
    complete = every or len(levels) <= SOME_LEVELS
    if not complete:
        ends, middle = np.r_[levels[:16], levels[-16:]], len(levels) // 2
        levels = np.unique(np.r_[ends, levels[middle - 16 : middle + 16], draws.choice(levels, (SOME_LEVELS - 64,))])
    steps = _steps(node, network, np.tile(levels[:, None], len(bias)))  # (levels, F) accumulators
    asked = [steps - bias, steps - 1 - bias, low[None], high[None], low[None] + 1, high[None] - 1]
    reach = reach_of_accumulator(node, network)
    for bits in (16, 24, 32):
        half, span = 1 << (bits - 1), 1 << bits
        if reach < half:
            break
        ends = np.broadcast_to(np.array([half - 1, half, -half, -half - 1])[:, None], (4, len(bias)))
        beyond = _levels(ends, node, network)[[0, 2]] + np.array([[1], [0]])  # where one that saturates there stops
        asked += [ends - bias, _steps(node, network, beyond) - np.array([[0], [1]]) - bias]
        spans = np.arange(1, min(SPANS, reach // span + 1) + 1)
        if not every:
            spans = spans[:: max(1, len(spans) // SOME_SPANS)]
        few = steps[:: max(1, len(steps) // 64)]
        asked += [few + sign * k * span - shift - bias for k in spans for sign in (-1, 1) for shift in (0, 1)]
    sums = _reached(np.clip(np.concatenate(asked), low, high), node, network)  # (P, F)
    return Probe(Evidence(_one_by_one(node, arrays), network, (sums[None, None],), np.zeros(1), reach), complete)


def _reached(sums: np.ndarray, node: Node, network: Network) -> np.ndarray:
    """The nearest sums on either side of those given (P, F) that some window can reach: (2 P, F)."""
    taps, offset = patterns(node, network)[0], node.attrs["input_offset"]
    low, high = (value + offset for value in input_limits(network, node.inputs[0]))
    both = np.concatenate([sums, sums])
    for f in range(sums.shape[1]):
        found = reachable(taps_of(node, f)[taps].ravel(), (low, high))
        both[:, f] = np.concatenate([found.above(sums[:, f]), found.below(sums[:, f])])
    return both


def _levels(sums: np.ndarray, node: Node, network: Network) -> np.ndarray:
    """What accumulators (P, F) become before the clamp."""
    arrays = node.arrays
    return unclamped(sums, arrays["bias"], arrays["multiplier"], arrays["shift"], node.attrs["output_offset"],
                     network.rounding)


def _steps(node: Node, network: Network, levels: np.ndarray) -> np.ndarray:
    """The smallest accumulator that reaches a level before the clamp; levels, result : (P, F) int64."""
    factor = node.arrays["multiplier"].astype(np.float64) * 2.0 ** (node.arrays["shift"].astype(np.float64) - 31)
    expected = np.clip((levels - node.attrs["output_offset"] - 0.5) / np.maximum(factor, 2.0**-44), -(2.0**46), 2.0**46)
    first = np.ceil(expected).astype(np.int64) - BESIDE
    return first + sum(_levels(first + k, node, network) < levels for k in range(2 * BESIDE + 1))
