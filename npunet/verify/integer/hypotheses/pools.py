"""Pools: the other pooling, a border that takes part, windows of another size, means of another kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.integer.bounds import input_limits
from npunet.ops.windows import windows
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import Variant, hypothesis


@hypothesis("pooling", "max_pool2d", "avg_pool2d")
def pooling(e: Evidence) -> Iterator[Variant]:
    """The other pooling, a border of zeros, another beginning, another mean."""
    if not windows_of_many(e):
        return
    other = {"max_pool2d": "avg_pool2d", "avg_pool2d": "max_pool2d"}[e.node.op]
    yield f"runs {other}", replace(e, node=replace(e.node, op=other)).run()
    if e.node.op == "max_pool2d":
        open_ends = {"act_min": -(2**62), "act_max": 2**62}
        whole = e.run(attrs=open_ends)
        yield "has a maximum that begins at 0, not at the smallest value", e.clamp(np.maximum(whole, 0))
        low, high = input_limits(e.network, e.node.inputs[0])
        if low < 0 <= high:
            bits = e.network.tensors[e.node.name].limits
            unsigned = replace(e, inputs=(e.inputs[0].astype(np.int64) & (bits[1] - bits[0]),)).run(attrs=open_ends)
            yield "compares its values as unsigned", e.clamp(((unsigned - bits[0]) & (bits[1] - bits[0])) + bits[0])
        yield "takes the minimum", e.clamp(-replace(e, inputs=(-e.inputs[0].astype(np.int64),)).run(attrs=open_ends))
    else:
        yield from _means(e)
    if np.any(e.node.attrs["pads"]):
        padded = np.pad(e.inputs[0], [(0, 0), *e.node.attrs["pads"], (0, 0)])
        yield "pads with 0 and lets that take part", replace(e, inputs=(padded,)).run(
            attrs={"pads": ((0, 0), (0, 0))})


@hypothesis("kinds of pooling", "max_pool2d", "avg_pool2d", rare=True)
def kinds(e: Evidence) -> Iterator[Variant]:
    """Means for a maximum, the largest magnitude, the first or the last tap, a sum."""
    if e.node.op == "max_pool2d":
        for words, values in _means(e):
            yield f"takes the mean, not the maximum, and {words}", values
    taps = windows(e.inputs[0].astype(np.int64), e.node.attrs["window"], e.node.attrs["stride"], e.node.attrs["pads"])
    listed = np.stack([taps[tap] for tap in taps])
    yield "takes the value of the largest magnitude", e.clamp(
        np.take_along_axis(listed, np.abs(listed).argmax(0)[None], 0)[0])
    yield "takes the largest magnitude itself", e.clamp(np.abs(listed).max(0))
    yield "takes the first value of its window", e.clamp(listed[0])
    yield "takes the last value of its window", e.clamp(listed[-1])
    yield "takes the sum of its window", e.clamp(listed.sum(0))
    yield "takes the second largest value of its window", e.clamp(np.sort(listed, 0)[-2 if len(listed) > 1 else -1])
    yield "takes the median of its window", e.clamp(np.sort(listed, 0)[len(listed) // 2])


def windows_of_many(e: Evidence) -> bool:
    """Whether any window of a pool holds more than one value, or a border."""
    a, shape = e.node.attrs, (1, *e.inputs[0].shape[1:3], 1)
    inside = windows(np.ones(shape, np.int64), a["window"], a["stride"], a["pads"])
    return bool(np.any(a["pads"]) or np.sum([inside[tap] for tap in inside], 0).max() > 1)


@hypothesis("size of the window", "max_pool2d", "avg_pool2d", linear=True)
def window_size(e: Evidence) -> Iterator[Variant]:
    """A row or column of a pool's window left out at either end, or one too many."""
    a = e.node.attrs
    for axis, words in enumerate(("row", "column")):
        k, before = a["window"][axis], a["pads"][axis][0]
        options = {f"leaves out the first {words} of its window": (k - 1, before - 1, 0),
                   f"leaves out the last {words} of its window": (k - 1, before, k - 1),
                   f"has one {words} too many at the beginning of its window": (k + 1, before + 1, -1),
                   f"has one {words} too many at the end of its window": (k + 1, before, k)}
        starts = np.arange(e.right.shape[axis + 1]) * a["stride"][axis] - before
        for told, (size, first, tap) in options.items():
            inside = [(starts + each >= 0) & (starts + each < e.inputs[0].shape[axis + 1]) for each in (tap, *range(k))]
            kept = inside[1:] if size > k else [each for number, each in enumerate(inside[1:]) if number != tap]
            if inside[0].any() and kept and np.any(kept, 0).all():
                yield told, _window_of(e, axis, size, first)


def _window_of(e: Evidence, axis: int, size: int, first: int) -> np.ndarray:
    """The pool with another size of its window along an axis, and `first` positions of a border before the image."""
    a, extent = e.node.attrs, e.inputs[0].shape[axis + 1]
    after = (e.right.shape[axis + 1] - 1) * a["stride"][axis] + size - first - extent
    cut: list[slice] = [slice(None)] * 4
    cut[axis + 1] = slice(max(0, -first), extent + min(0, after))
    window, pads = list(a["window"]), list(a["pads"])
    window[axis], pads[axis] = size, (max(0, first), max(0, after))
    return replace(e, inputs=(e.inputs[0][tuple(cut)],)).run(attrs={"window": tuple(window), "pads": tuple(pads)})


def _means(e: Evidence) -> Iterator[Variant]:
    """Means that are rounded in another way, or count the border."""
    x, a = e.inputs[0].astype(np.int64), e.node.attrs
    taps = windows(x, a["window"], a["stride"], a["pads"])
    inside = windows(np.ones((1, *x.shape[1:3], 1), np.int64), a["window"], a["stride"], a["pads"])
    total = np.sum([taps[tap] for tap in taps], 0)
    count = np.sum([inside[tap] for tap in inside], 0)
    area = a["window"][0] * a["window"][1]
    magnitude = np.sign(total)
    yield "floors its mean", e.clamp(total // count)
    yield "cuts its mean towards zero", e.clamp(magnitude * (np.abs(total) // count))
    yield "rounds the ties of its mean upward", e.clamp((2 * total + count) // (2 * count))
    if (count != area).any():
        yield "counts the border in its mean", e.clamp(magnitude * ((np.abs(total) + area // 2) // area))
