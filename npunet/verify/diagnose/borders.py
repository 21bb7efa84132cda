"""Patterns of borders: convolutions and poolings that read another constant than zero outside of the image."""

from __future__ import annotations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.pooling import pooled
from npunet.verify.diagnose.recipe import Recipe


def widened(r: Recipe, value: np.ndarray | float) -> Recipe:
    """The same convolution of an image that is padded with a value, or one for every channel."""
    (KH, KW), (sy, sx), (dy, dx) = r.kernels[0].shape[:2], r.attrs["stride"], r.attrs["dilation"]
    (top, _), (left, _) = r.attrs["pads"]
    N, H, W, C = r.inputs[0].shape
    OH, OW = r.shape[:2]
    rows = max((OH - 1) * sy + (KH - 1) * dy + 1, top + H)
    columns = max((OW - 1) * sx + (KW - 1) * dx + 1, left + W)
    wide = np.empty((N, rows, columns, C), np.float32)
    wide[:] = value
    wide[:, top : top + H, left : left + W] = r.inputs[0]
    return r.but(inputs=(wide,)).having(pads=((0, 0), (0, 0)))


@pattern(*CONVOLUTIONS)
def padding_value(s: Sight) -> Guesses:
    """The border has one value, or one for every channel, that the output shows."""
    r = s.recipe
    if not any(sum(pair) for pair in r.attrs["pads"]):
        return
    places = np.flatnonzero(s.differs.any(3).ravel())
    zeros, C = np.zeros_like(r.inputs[0]), r.inputs[0].shape[3]
    masks = np.eye(C, dtype=np.float32)
    bare = r.but(inputs=(zeros,), bias=None)
    ones = np.stack([recipes.rough(widened(bare, mask), places)[0] for mask in masks], -1)  # (P, F, C)
    off = (s.got - s.right).reshape(-1, s.got.shape[3])[places].astype(np.float64)
    usable = np.isfinite(off)
    if np.count_nonzero(usable) < 2:
        return
    whole = ones.sum(-1)
    value = float((whole * off)[usable].sum() / max((whole * whole)[usable].sum(), 1e-300))
    for told in dict.fromkeys((float(f"{value:.3g}"), float(np.float32(value)))):
        yield Guess(f"the border is padded with {told:.7g} instead of zero", recipe=widened(r, told))
    if np.count_nonzero(usable) >= 2 * C > 2:
        values = np.linalg.lstsq(ones[usable], off[usable], rcond=1e-9)[0].astype(np.float32)
        listed = ", ".join(f"{v:.6g}" for v in values[:4])
        yield Guess(f"the border is padded with another value in every channel: {listed}", recipe=widened(r, values))


@pattern(*CONVOLUTIONS)
def context_of_case(s: Sight) -> Guesses:
    """On the left, or above, the end of what the layer read in the case before: a stream's context, not cleared."""
    r, x, source = s.recipe, s.recipe.inputs[0], s.node.inputs[0]
    order = [key for key, case in s.bundle.cases.items() if case["scope"] == "network"]
    at = order.index(s.evidence.case) if s.evidence.case in order else 0
    if not at:
        return
    case = order[at - 1]
    before = s.evidence.cases.get(f"{source} of {case}")
    if source == s.bundle.graph.input and f"{case}/in" in s.bundle.tensors:
        before = s.bundle.tensor(case, "in")
    if before is None or before.shape != x.shape:
        return
    (top, _), (left, _) = r.attrs["pads"]
    for axis, where, pads in ((2, "on the left", ((top, 0), (left - x.shape[2], 0))),
                              (1, "above", ((top - x.shape[1], 0), (left, 0)))):
        if r.attrs["pads"][axis - 1][0]:
            wide = np.concatenate([before, x], axis)
            words = f"{where} of the image the end of that of the case before is read (a context that is not cleared)"
            yield Guess(words, recipe=r.but(inputs=(wide,)).having(pads=pads))


@pattern(*CONVOLUTIONS)
def border_not_computed(s: Sight) -> Guesses:
    """Outputs whose window leaves the image are not summed: they hold zero, the bias, or their neighbour inside."""
    outside = _leaving(s.recipe)
    if not outside.any() or outside.all():
        return
    mask = np.broadcast_to(outside[None, :, :, None], s.right.shape)
    for words, value in (("zero", np.float32(0)), ("the bias alone", s.recipe.bias)):
        if value is not None:
            words = f"outputs whose window leaves the image are not computed (valid padding): {words} stands there"
            yield Guess(words, np.where(mask, value, s.right), of_sums=True)
    rows, columns = np.flatnonzero(~outside.all(1)), np.flatnonzero(~outside.all(0))
    row, column = (np.clip(np.arange(size), inside[0], inside[-1])
                   for size, inside in zip(outside.shape, (rows, columns), strict=True))
    moved = s.right[:, row][:, :, column]
    yield Guess("outputs whose window leaves the image are copied from the nearest that does not", moved, of_sums=True)


def _leaving(r: Recipe) -> np.ndarray:
    """Positions (OH, OW) whose window lies partly outside."""
    spans = []
    for size, count, extent, by, step, (before, _) in zip(
        r.inputs[0].shape[1:3], r.shape[:2], r.kernels[0].shape[:2], r.attrs["dilation"], r.attrs["stride"],
        r.attrs["pads"], strict=True,
    ):
        first = np.arange(count) * step - before
        spans.append((first < 0) | (first + (extent - 1) * by >= size))
    return spans[0][:, None] | spans[1][None]


@pattern("max_pool2d")
def pool_padding_value(s: Sight) -> Guesses:
    """A border that wins where all of the image is smaller."""
    if any(sum(pair) for pair in s.recipe.attrs["pads"]):
        values = s.got[s.differs]
        if (values == values[0]).all():
            yield Guess(f"the pooling is padded with {values[0]:.9g} instead of minus infinity",
                        recipe=pooled(s.recipe, fill=float(values[0])))
    floor = s.got[s.differs]
    if (floor == floor[0]).all():
        yield Guess(f"the running maximum starts at {floor[0]:.9g}", np.maximum(s.right, floor[0]))
