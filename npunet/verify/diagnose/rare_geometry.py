"""Rare hypotheses about where a convolution or a pooling reads: every padding, dilation, stride and window nearby."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.geometry import padded
from npunet.verify.diagnose.pooling import pooled, unfinished
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, rare

WIDEST = 8  # dilation that is tried
GROUPS = (2, 3, 4, 6, 8)
FEWEST = 400  # pixels of an input from which on poolings are tried with few windows only


@rare(*CONVOLUTIONS)
def padding_other(r: Recipe) -> Variants:
    (top, bottom), (left, right) = r.attrs["pads"]
    rows = range(-1, top + bottom + 2) if r.inputs[0].shape[1] > 1 or r.kernels[0].shape[0] > 1 else (top,)
    for other in product(rows, range(-1, left + right + 2)):
        if other != (top, left):
            above = f"{other[0]} above" + (f" (not {top})" if other[0] != top else "")
            before = f"{other[1]} on the left" + (f" (not {left})" if other[1] != left else "")
            yield f"another padding: {above}, {before}", padded(r, *other)


@rare(*CONVOLUTIONS)
def dilation_any(r: Recipe) -> Variants:
    (KH, KW), (dy, dx) = r.kernels[0].shape[:2], r.attrs["dilation"]
    (top, bottom), (left, right) = r.attrs["pads"]
    rows, columns = (range(1, WIDEST + 1) if extent > 1 else (1,) for extent in (KH, KW))
    for other in product(rows, columns):
        if other != (dy, dx):
            words = f"dilation {other[0]} x {other[1]} instead of {dy} x {dx}"
            changed = r.having(dilation=other)
            yield f"{words}, the padding as declared", changed
            spans = [(extent - 1) * by for extent, by in zip((KH, KW), other, strict=True)]
            same = tuple(span // 2 for span in spans)
            if same != (top, left):
                yield f"{words}, also in the padding", padded(changed, *same)
            behind = (spans[0] - bottom, spans[1] - right)  # right at the far end
            if behind not in ((top, left), same) and min(behind) >= 0:
                yield f"{words}, padding before {behind[0]} and {behind[1]}", padded(changed, *behind)


@rare(*CONVOLUTIONS)
def border_symmetric(r: Recipe) -> Variants:
    if any(sum(pair) for pair in r.attrs["pads"]):
        yield "the border mirrors the image with its edge", r.but(border="symmetric")
        yield "the border mirrors the image with its edge on the left and right", r.but(border="symmetric columns")
    if len(r.inputs[0]) > 1 and r.attrs["pads"][1][0]:
        yield ("on the left the end of the sample before is read (a context that is not cleared)",
               r.but(border="sample"))


@rare(*CONVOLUTIONS)
def border_rows(r: Recipe) -> Variants:
    """Line buffers that are not cleared: rows beyond the image are other rows, columns are zeros."""
    if min(r.inputs[0].shape[1:3]) > 1 and any(r.attrs["pads"][0]):
        for border, does in (("edge", "repeats the edge"), ("mirror", "mirrors the image"),
                             ("symmetric", "mirrors the image with its edge"), ("wrap", "wraps around")):
            yield f"the border {does} above and below instead of zeros", r.but(border=f"{border} rows")


@rare(*CONVOLUTIONS)
def stride_any(r: Recipe) -> Variants:
    for other in product((1, 2, 3), (1, 2, 3)):
        if other != tuple(r.attrs["stride"]):
            yield f"stride {other[0]} x {other[1]}", r.having(stride=other)


@rare(*CONVOLUTIONS)
def part_left_out(r: Recipe) -> Variants:
    """One tap, row or column of taps, or input channel is never added; its weights or inputs are zero."""
    w = r.kernels[0]
    KH, KW, C = w.shape[:3]
    parts: list[tuple[str, Any]] = []
    if KH * KW > 1:
        parts += [(f"tap [{y}, {x}]", (y, x)) for y, x in product(range(KH), range(KW))]
    if KH > 1 and KW > 1:
        parts += [(f"row {y} of the kernel", (y,)) for y in range(KH)]
        parts += [(f"column {x} of the kernel", (slice(None), x)) for x in range(KW)]
    if C > 1 and r.op == "conv2d":
        parts += [(f"input channel {c}", (slice(None), slice(None), c)) for c in range(C)]
        every = slice(None), slice(None)
        parts += [(f"input channels {c} to {C - 1}", (*every, slice(c, None))) for c in range(1, C - 1)]
        parts += [(f"input channels 0 to {c}", (*every, slice(0, c + 1))) for c in range(1, C - 1)]
    for words, at in parts:
        cut = w.copy()
        cut[at] = 0
        yield f"{words} left out", r.but(kernels=(cut, *r.kernels[1:]))
    if C > 1 and r.op == "conv2d":
        for c in range(C):
            kept = np.zeros_like(w)
            kept[:, :, c] = w[:, :, c]
            yield f"only input channel {c} is summed", r.but(kernels=(kept, *r.kernels[1:]))


@rare("conv2d", "separable_conv2d")
def channel_groups(r: Recipe) -> Variants:
    """A convolution in groups: a filter sums the channels of its own group alone."""
    w = r.kernels[-1]
    c, f = np.arange(w.shape[2])[:, None], np.arange(w.shape[3])[None]
    for groups in GROUPS:
        if groups <= min(w.shape[2:]):
            for words, same in (("one after the other", c * groups // w.shape[2] == f * groups // w.shape[3]),
                                ("in turn", c % groups == f % groups)):
                kernel = np.where(same, w, np.float32(0))
                yield f"summed in {groups} groups of channels, {words}", r.but(kernels=(*r.kernels[:-1], kernel))


@rare("max_pool2d")
def pool_ranked(r: Recipe) -> Variants:
    """Another element of the sorted window than the largest."""
    (KH, KW), taps = r.attrs["window"], prod(r.attrs["window"])
    (top, _), (left, _) = r.attrs["pads"]

    def sorted_window(c: Recipe) -> np.ndarray:
        moved = [unfinished(pooled(c, window=(1, 1), before=(top - ky, left - kx)))
                 for ky in range(KH) for kx in range(KW)]
        return -np.sort(-np.stack(moved), 0)  # the largest first, what lies outside last

    def ranked(c: Recipe, place: int) -> np.ndarray:
        found = sorted_window(c)
        return np.where(np.isneginf(found[place]), found[0], found[place])

    if taps > 1:
        yield "the second largest element instead of the largest", r.but(compute=lambda c: ranked(c, 1))
    if taps > 2:
        yield "the median of the window instead of the largest", r.but(compute=lambda c: ranked(c, taps // 2))


@rare("max_pool2d")
def pool_geometry(r: Recipe) -> Variants:
    (KH, KW), ((top, bottom), (left, right)) = r.attrs["window"], r.attrs["pads"]
    small = r.inputs[0].shape[1] * r.inputs[0].shape[2] <= FEWEST
    heights, widths = range(1, KH + 3), range(1, KW + 3)
    tops = range(-1, top + bottom + 2) if small and r.inputs[0].shape[1] > 1 else (top,)
    lefts = range(-1, left + right + 2) if small else (left,)
    for window, before in product(product(heights, widths), product(tops, lefts)):
        if (window, before) != ((KH, KW), (top, left)):
            words = f"window {window[0]} x {window[1]}, padding before {before[0]} and {before[1]}"
            yield f"{words} instead of {KH} x {KW}, {top} and {left}", pooled(r, window=window, before=before)
    for words, at in (("first", (top, left)), ("last", (top - KH + 1, left - KW + 1))):
        yield f"the {words} element of the window instead of the largest", pooled(r, window=(1, 1), before=at)
    yield "the sum of the window instead of the largest", r.but(
        compute=lambda c: unfinished(pooled(c, fill=0.0, how="mean", among="window")) * np.float32(KH * KW))
    for other in product((1, 2, 3), (1, 2, 3)):
        if other != tuple(r.attrs["stride"]):
            yield f"stride {other[0]} x {other[1]} of the pooling", pooled(r, stride=other)
