"""Patterns of loops: tiles that do not see their neighbours, outputs written over inputs, filters never reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.compare import same
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.regions import runs
from npunet.verify.diagnose.sums import fold, fold_depthwise

NAMES = ("rows", "columns")
HALOS = {"zero": "what lies beyond a tile's edge reads as zero", "edge": "a tile's own edge is repeated beyond it",
         "mirror": "a tile is mirrored beyond its edge"}
Tile = tuple[int | None, int | None]
MOST_WORDS = 1 << 24  # elements read for an output in place, beyond which it is not tried
SAMPLE = 24  # positions that a guess is tried at first


@pattern("conv2d", "depthwise_conv2d")
def tiles_without_halo(s: Sight) -> Guesses:
    """An image worked on tile by tile, where what lies beyond a tile's edge reads as zero."""
    r = s.recipe
    if r.attrs["stride"] != (1, 1) or r.shape[:2] != r.inputs[0].shape[1:3]:
        return
    sizes = [list(_tiles(s, axis)) for axis in (0, 1)]
    one_axis = [(size, None) for size in sizes[0]] + [(None, size) for size in sizes[1]]
    for rows, columns in [*one_axis, *((a, b) for a in _tiles(s, 0, True) for b in _tiles(s, 1, True))]:
        told = " x ".join(f"{size} {name}" for size, name in zip((rows, columns), NAMES, strict=True) if size)
        for how, words in HALOS.items():
            def y_of(places: np.ndarray, tile: Tile = (rows, columns), how: str = how) -> np.ndarray:
                return _summed(r, _tiled(r, places, tile, how))

            yield from _where_sampled(s, f"tiles of {told} without a halo: {words}", y_of)


def _tiled(r: Recipe, places: np.ndarray, tile: Tile, how: str) -> np.ndarray:
    """What every tap reads where what lies beyond a tile's edge is made up, (P, KH, KW, C)."""
    if how == "zero":
        return np.where(_within(r, places, tile), recipes.columns(r, places), np.float32(0))
    n, *at = np.unravel_index(places, (len(r.inputs[0]), *r.shape[:2]))
    index, inside = [], []
    for axis, size in enumerate(tile):
        extent = r.inputs[0].shape[1 + axis]
        tap = (at[axis][:, None] - r.attrs["pads"][axis][0]
               + np.arange(r.kernels[0].shape[axis]) * r.attrs["dilation"][axis])
        inside.append((tap >= 0) & (tap < extent))
        if size is not None:
            first = at[axis][:, None] // size * size
            last = np.minimum(first + size, extent) - 1
            tap = np.clip(tap, first, last) if how == "edge" else np.where(
                tap < first, 2 * first - tap, np.where(tap > last, 2 * last - tap, tap))
        index.append(np.clip(tap, 0, extent - 1))
    rows, columns = index
    taken = r.inputs[0][n[:, None, None], rows[:, :, None], columns[:, None, :]]
    known = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return np.where(known, taken, np.float32(0))


def _within(r: Recipe, places: np.ndarray, tile: Tile) -> np.ndarray:
    """Which taps lie in the tile of their output, (P, KH, KW, 1)."""
    _, i, j = np.unravel_index(places, (len(r.inputs[0]), *r.shape[:2]))
    inside = np.ones((len(places), *r.kernels[0].shape[:2], 1), bool)
    for axis, (at, size) in enumerate(zip((i, j), tile, strict=True)):
        if size is not None:
            tap = at[:, None] - r.attrs["pads"][axis][0] + np.arange(inside.shape[1 + axis]) * r.attrs["dilation"][axis]
            same_tile = tap // size == at[:, None] // size
            inside &= same_tile[:, :, None, None] if axis == 0 else same_tile[:, None, :, None]
    return inside


def _summed(r: Recipe, x: np.ndarray, f: int | None = None) -> np.ndarray:
    """The sums of what was read, (P, KH, KW, C), with the bias: (P, F), or of one filter (P,)."""
    shape, w = r.kernels[0].shape[:3], r.kernels[0]
    if r.op == "conv2d":
        kernel = w.reshape(-1, w.shape[3])
        y = fold(x.reshape(len(x), -1), kernel if f is None else kernel[:, f : f + 1], r.order, shape, None)
    else:
        C, M = w.shape[2:]
        y = fold_depthwise(x.reshape(len(x), -1, C), w.reshape(-1, C, M), r.order, shape, None)
        y = y if f is None else y[:, f : f + 1]
    if r.bias is not None:
        y = y + (r.bias if f is None else r.bias[f : f + 1])
    for step in r.after:
        y = step(y)
    return y if f is None else y[:, 0]


def _where_sampled(s: Sight, words: str, y_of: Callable[[np.ndarray], np.ndarray]) -> Guesses:
    """A guess, computed everywhere only where it holds at some of the positions that differ."""
    got = s.got.reshape(-1, s.got.shape[3])
    wrong = np.flatnonzero(s.differs.any(3).ravel())
    sample = wrong[np.linspace(0, len(wrong) - 1, min(SAMPLE, len(wrong))).round().astype(int)]
    if len(sample) and same(np.ascontiguousarray(y_of(sample)), got[sample]).all():
        yield Guess(words, y_of(np.arange(len(got))).reshape(s.got.shape), of_sums=True)


def _tiles(s: Sight, axis: int, together: bool = False) -> Iterator[int]:
    """Sizes of tiles along an axis for which all that differs lies where a window crosses an edge.

    together : the other axis is cut too, so that only places near to no edge of this one tell nothing
    """
    r = s.recipe
    extent, reach = r.shape[axis], (r.kernels[0].shape[axis] - 1) * r.attrs["dilation"][axis]
    before = r.attrs["pads"][axis][0]
    wrong = np.asarray(s.differs.any(tuple(k for k in range(4) if k != axis + 1)))
    at = np.arange(extent)
    for size in range(2, extent):
        crosses = np.zeros(extent, bool)
        for k in range(r.kernels[0].shape[axis]):
            tap = at - before + k * r.attrs["dilation"][axis]
            crosses |= (tap >= 0) & (tap < extent) & (tap // size != at // size)
        if reach and crosses.any() and (_usual(size, wrong, crosses) if together else not (wrong & ~crosses).any()):
            yield size


def _usual(size: int, wrong: np.ndarray, crosses: np.ndarray) -> bool:
    """Whether a tile of a power of two may be one of two directions: all that crosses its edges differs."""
    return size & (size - 1) == 0 and bool(wrong[crosses].all())


@pattern("conv2d", "depthwise_conv2d")
def sums_overwritten(s: Sight) -> Guesses:
    """Each row of the kernel, each tap or each product begins the sum anew, or ends it: one of them is all there is."""
    KH, KW, C = s.recipe.kernels[0].shape[:3]
    for unit, many in (("row of the kernel", KH), ("tap", KH * KW), ("product", KH * KW * C)):
        if many > 1 and not (unit == "product" and s.recipe.op != "conv2d"):
            for which, why in (("last", "each overwrites the sum before it"), ("first", "the loop ends after it")):
                yield from _where_sampled(s, f"only the {which} {unit} (of those in the image) is in the sum: {why}",
                                          partial(_one_of, s.recipe, unit, which == "last"))


def _one_of(r: Recipe, unit: str, last: bool, places: np.ndarray) -> np.ndarray:
    """The output where the last or first row, tap or product in the image is all that is summed, (P, F)."""
    x = recipes.columns(r, places)
    inside = recipes.columns(r.but(inputs=(np.ones_like(r.inputs[0]),)), places)[..., 0] > 0  # (P, KH, KW)
    units = np.asarray(inside.any(2)) if unit == "row of the kernel" else inside.reshape(len(x), -1)
    at = units.shape[1] - 1 - units[:, ::-1].argmax(1) if last else units.argmax(1)
    kept = np.arange(units.shape[1]) == at[:, None]
    mask = kept[:, :, None] if unit == "row of the kernel" else kept.reshape(inside.shape)
    x = np.where(mask[..., None], x, np.float32(0))
    if unit == "product":
        x[..., slice(None, -1) if last else slice(1, None)] = 0
    return _summed(r, x)


@pattern("conv2d", "depthwise_conv2d")
def written_in_place(s: Sight) -> Guesses:
    """An output that lies in its input's memory: later sums read what earlier ones have written."""
    r = s.recipe
    N, H, W, C = r.inputs[0].shape
    F, taps = r.shape[2], prod(r.kernels[0].shape[:3])
    if r.attrs["stride"] != (1, 1) or r.shape[:2] != (H, W) or F > C or N * H * W * F * taps > MOST_WORDS:
        return
    written = {"": s.got} if r.bias is None else {"": s.got, ", before the bias is added": s.evidence.acc}
    for words, held in written.items():
        if held is not None:
            for how, by_element in (("position by position", False), ("element by element", True)):
                yield from _where_sampled(
                    s, f"the output is written over the input{words}: later sums read it ({how})",
                    partial(_over_input, r, held, by_element))


def _over_input(r: Recipe, held: np.ndarray, by_element: bool, places: np.ndarray) -> np.ndarray:
    """The output where reads find `held` in every place of the input's memory that was written before, (P, F)."""
    N, H, W, C = r.inputs[0].shape
    F = r.shape[2]
    memory = r.inputs[0].reshape(N, -1).copy()
    memory[:, : H * W * F] = held.reshape(N, -1)
    address = np.broadcast_to(np.arange(H * W * C, dtype=np.float64).reshape(1, H, W, C), (N, H, W, C))
    at, old, new = (recipes.columns(r.but(inputs=(x.reshape(N, H, W, C),)), places)
                    for x in (address, r.inputs[0], memory))  # (P, KH, KW, C) each
    first = (places % (H * W) * F)[:, None, None, None]
    if not by_element:
        return _summed(r, np.where(at < first, new, old))
    return np.stack([_summed(r, np.where(at < first + f, new, old), f) for f in range(F)], 1)


@pattern(*CONVOLUTIONS)
def filters_not_summed(s: Sight) -> Guesses:
    """Channels that hold the bias alone, or zero where there is none: filters that are zero or that no loop reaches."""
    bias = s.recipe.bias
    at = np.flatnonzero(s.differs.any((0, 1, 2)))
    if bias is None or len(at) == s.right.shape[3]:
        return
    alone = np.broadcast_to(bias, s.right.shape)
    if same((alone + np.float32(0))[..., at], (s.got + np.float32(0))[..., at]).all():
        y = s.right.copy()
        y[..., at] = s.got[..., at]
        plural = "s" if len(at) > 1 else ""
        yield Guess(f"channel{plural} {runs(at)} of {s.right.shape[3]} hold{'' if plural else 's'} the bias alone: "
                    "weights of zero, or filters that no loop reaches", y, of_sums=True)


@pattern(rank=2)
def lines_of_others(s: Sight) -> Guesses:
    """Rows or columns of the output that are others of its own: a loop that does not step."""
    for axis, name in ((1, "row"), (2, "column")):
        extent = s.right.shape[axis]
        at = np.flatnonzero(s.differs.any(tuple(k for k in range(4) if k != axis)))
        if extent < 3 or len(at) == 0 or s.right.size // extent < 3:
            continue
        lines = {np.ascontiguousarray(np.take(s.right, k, axis)).tobytes(): k for k in reversed(range(extent))}
        order = np.arange(extent)
        for k in at:
            order[k] = lines.get(np.ascontiguousarray(np.take(s.got, k, axis)).tobytes(), -1)
        if (order >= 0).all() and len(np.unique(s.right)) > 3:
            listed = ", ".join(f"{order[k]} in {k}" for k in at[:4]) + (", ..." if len(at) > 4 else "")
            plural = "s" if len(at) > 1 else ""
            yield Guess(f"{name}{plural} of the output stand in others' place ({listed})",
                        np.take(s.right, order, axis))
