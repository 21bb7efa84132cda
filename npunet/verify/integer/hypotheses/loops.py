"""Loops that end too soon: taps, channels, positions that nobody computed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.golden.integer.reach import patterns
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.factors import BLOCKS
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis


@hypothesis("taps left out", *CONVOLUTIONS, linear=True)
def taps(e: Evidence) -> Iterator[Variant]:
    """The first or the last of a kernel's rows, columns, channels."""
    w = e.node.arrays["weights"]
    met = patterns(e.node, e.network)  # taps that never lie inside of the image may hold anything
    live = np.any(met, 0)[:, :, None, None]
    parts = {"first row of taps": (0, 0), "last row of taps": (0, -1), "first column of taps": (1, 0),
             "last column of taps": (1, -1)}
    if e.node.op == "conv2d":
        parts |= {"first channel of its input": (2, 0), "last channel of its input": (2, -1)}
    for words, (axis, at) in parts.items():
        less = w.copy()
        np.moveaxis(less, axis, 0)[at] = 0
        if w.shape[axis] > 1 and ((less != w) & live).any():
            yield f"leaves out the {words}", e.run(arrays={"weights": less})


@hypothesis("positions left out")
def positions(e: Evidence) -> Iterator[Variant]:
    """Rows, columns or channels of the output that hold 0, or the zero point."""
    H, W, C = e.right.shape[1:]
    parts: dict[str, tuple[int, slice]] = {}
    for axis, (extent, words) in enumerate(((H, "row"), (W, "column"), (C, "channel")), 1):
        if extent > 1:
            parts |= {f"the first {words}": (axis, slice(1)), f"the last {words}": (axis, slice(-1, None))}
    for block in BLOCKS:
        if C % block:
            parts[f"the channels beyond a multiple of {block}"] = 3, slice(C // block * block, None)
    zero_point = e.network.tensors[e.node.name].zero_point
    for words, (axis, part) in parts.items():
        for value in dict.fromkeys((0, zero_point)):
            made = e.right.copy()
            np.moveaxis(made, axis, 0)[part] = value
            if not np.array_equal(made, e.right):
                yield f"does not compute {words} of its output: {value} stands there", made
