"""The range of every activation over the calibration data, by the float network.

Three methods give a range (low, high) for a tensor:

    minmax      smallest and largest value ever seen: what TensorFlow Lite's converter takes
    percentile  the values between which all but 0.01 % lie; outliers are clipped, everything else gets finer steps
    mse         of 100 symmetric shrinkings of minmax' range the one with the smallest mean squared error of
                quantising, counted over a histogram

Whichever it is, `ranges` then decides which tensors share one. The last two go over the data twice: the histogram of
the second pass has BINS bins over minmax' range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npunet import run
from npunet.integer.quantization.plan import Plan

METHODS = ("minmax", "percentile", "mse")
Range = tuple[float, float]
Progress = Callable[[int, int], Any]  # (samples done, samples in all)
BINS = 2048
OUTSIDE = 1e-4  # share of the values that percentile clips, half on either side
SHRINKINGS = 100
VALUES_AT_ONCE = 2**22  # of the largest tensor


def calibrate(plan: Plan, x: np.ndarray, method: str, levels: int, progress: Progress | None = None,
              arithmetic: str = "seq") -> dict[str, Range]:
    """The range of the input and of every operator's output.

    x          : (N, H, W, C) float32
    levels     : steps between the ends of the integer type, 255 or 65535
    arithmetic : order of the network's sums; in "seq" every machine finds the same ranges, "any" is faster
    """
    passes = 1 if method == "minmax" else 2
    total, done = passes * len(x), 0
    ranges: dict[str, Range] = {}
    for piece, activations in _activations(plan, x, arithmetic):
        for name, values in activations:
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
        done += len(piece)
        if progress:
            progress(done, total)
    if method == "minmax":
        return ranges
    counts = {name: np.zeros(BINS, np.int64) for name in ranges}
    for piece, activations in _activations(plan, x, arithmetic):
        for name, values in activations:
            counts[name] += np.histogram(values, BINS, _open(ranges[name]))[0]
        done += len(piece)
        if progress:
            progress(done, total)
    choose = percentile_range if method == "percentile" else mse_range
    return {name: choose(counts[name], ranges[name], levels) for name in ranges}


def _activations(plan: Plan, x: np.ndarray,
                 arithmetic: str) -> Iterator[tuple[np.ndarray, Iterator[tuple[str, np.ndarray]]]]:
    """The data piece by piece, each with the plan's tensors in execution order."""
    largest = max(int(np.prod(plan.graph.shape(name))) for name in (plan.graph.input, *(n.name for n in plan.graph)))
    size = max(1, VALUES_AT_ONCE // largest)
    for start in range(0, len(x), size):
        piece = x[start : start + size]
        yield piece, _tensors(plan, piece, arithmetic)


def _tensors(plan: Plan, x: np.ndarray, arithmetic: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every planned tensor by the float operators, each let go after its last use."""
    graph, wanted = plan.graph, {planned.name for planned in plan}
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    trace = {graph.input: x}
    yield graph.input, x
    for node in graph:
        trace[node.name], _ = run.apply(node, run.operands(node, trace, plan.weights), arithmetic)
        if node.name in wanted:
            yield node.name, trace[node.name]
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name != graph.output:
                del trace[name]


def percentile_range(counts: np.ndarray, whole: Range, levels: int) -> Range:
    """The range that leaves OUTSIDE / 2 of the counted values below it and as many above."""
    edges = np.linspace(*_open(whole), len(counts) + 1)
    share = np.concatenate([[0], np.cumsum(counts)]) / max(1, counts.sum())
    low = edges[np.searchsorted(share, OUTSIDE / 2, "right") - 1]
    high = edges[np.searchsorted(share, 1 - OUTSIDE / 2, "left")]
    return max(whole[0], float(low)), min(whole[1], float(high))


def mse_range(counts: np.ndarray, whole: Range, levels: int) -> Range:
    """The shrinking of the whole range with the smallest mean squared error of quantising the counted values."""
    edges = np.linspace(*_open(whole), len(counts) + 1)
    middles, best, found = (edges[1:] + edges[:-1]) / 2, np.inf, whole
    for factor in np.arange(1, SHRINKINGS + 1) / SHRINKINGS:
        low, high = min(whole[0] * factor, 0.0), max(whole[1] * factor, 0.0)
        if high == low:
            continue
        step = (high - low) / levels
        inside = (middles >= low) & (middles <= high)
        beyond = np.where(middles < low, low - middles, middles - high)
        error = float(np.where(inside, step * step / 12, beyond**2) @ counts)
        if error <= best:
            best, found = error, (low, high)
    return found


def _open(whole: Range) -> Range:
    """A range with some width, which a histogram needs."""
    low, high = whole
    return (low, high) if high > low else (low - 0.5, high + 0.5)
