"""Patterns of accumulators: kept in fixed point, kept in a short float in an unlisted order, not cleared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.fixed_sums import all_of
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.solved_sums import products
from npunet.verify.diagnose.storage import binary_point
from npunet.verify.diagnose.sums import to_bfloat16, to_float16

CHUNK = 1024  # positions that are held at once
POINTS = range(2, 23)
FINE_GRID = 2.0  # units of a grid that each term may be off by
OFF_GRID = 0.9  # share of the right sums that do not lie on it
CARRIED = 2e-6  # of the largest sum: rounding of one that starts from another
DRIFT = 16 * 2.0**-24  # of a running total, times the root of the number of steps: rounding errors walk at random


@pattern(*CONVOLUTIONS)
def accumulator_fixed_point(s: Sight) -> Guesses:
    """Sums that lie on a grid of a power of two."""
    point = _point(s)
    if point is not None:
        for fixed in all_of(point, _largest(s)):
            changed = s.recipe.but(order=replace(s.recipe.order, fixed=fixed))
            yield Guess(f"accumulator in fixed point, {fixed}", recipe=changed)


@pattern(*CONVOLUTIONS, rank=3)
def sums_on_a_grid(s: Sight) -> Guesses:
    """Sums that are multiples of a power of two, which the right ones are not, and near these."""
    point = _point(s)
    if point is None:
        return
    right = recipes.run(s.recipe.but(bias=None)).astype(np.float64) * 2.0**point
    terms = s.recipe.kernels[0][..., 0].size + 2
    most = terms * FINE_GRID * 2.0**-point * (1 + np.abs(s.inputs[0]).max())
    near = np.abs(s.got.astype(np.float64) - s.right) <= most
    if near.all() and (np.rint(right) != right).mean() > OFF_GRID:
        yield Guess(f"the sums are multiples of 2^-{point}: fixed point with {point} fractional bits, rounded in a way "
                    "that is not on the list", s.got, of_sums=True, name="accumulator_fixed_point")


@pattern(*CONVOLUTIONS)
def accumulator_clamped(s: Sight) -> Guesses:
    """Sums that saturate: none is beyond a limit that some of the right ones are beyond."""
    sums = _sums(s)
    seen = s.got.astype(np.float64) - s.recipe.bias if sums is None and s.recipe.bias is not None else sums
    if seen is None or not np.isfinite(seen).any():
        return
    seen, right = seen[np.isfinite(seen)], recipes.run(s.recipe.but(bias=None))
    most = float(np.abs(seen).max())
    for limit in dict.fromkeys((float(f"{most:.4g}"), float(np.float32(most)))):
        if 0 < limit < float(np.abs(right[np.isfinite(right)]).max(initial=0)):
            for by_tap, when in ((False, "product"), (True, "tap")):
                changed = s.recipe.but(order=replace(s.recipe.order, limit=limit, by_tap=by_tap))
                yield Guess(f"accumulator saturates at +-{limit:.6g} after every {when}", recipe=changed)
            once = s.recipe.but(middle=(lambda y, limit=limit: np.clip(y, np.float32(-limit), np.float32(limit)),))
            yield Guess(f"the sum is limited to +-{limit:.6g} before the bias", recipe=once)


def _largest(s: Sight) -> float:
    """What no running total exceeds: sum |x||w|; infinite where halves follow one another."""
    r = s.recipe
    if r.op == "separable_conv2d":
        return float("inf")
    most, w = 0.0, np.abs(r.kernels[0])
    for start in range(0, recipes.positions(r), CHUNK):
        places = np.arange(start, min(start + CHUNK, recipes.positions(r)))
        most = max(most, float(products(r, np.abs(recipes.columns(r, places)).astype(np.float64), w).max(initial=0)))
    return most


def _sums(s: Sight) -> np.ndarray | None:
    """What the port had summed before the bias, where it is known to the bit."""
    if s.evidence.acc is not None:
        return s.evidence.acc
    return s.got if s.recipe.bias is None else None


def _point(s: Sight) -> int | None:
    """Fractional bits of the sums, if they are few."""
    sums = _sums(s)
    if sums is not None:
        return binary_point(sums)
    assert s.recipe.bias is not None  # else the output is the sum
    off = s.got.astype(np.float64) - s.recipe.bias  # rounded once when the bias was added
    fine = 2.0**-24 * (np.abs(s.got) + np.abs(s.recipe.bias)) + 1e-30
    for p in POINTS:
        if 2.0**-p > 8 * fine.max() and (np.abs(np.rint(off * 2.0**p) / 2.0**p - off) <= fine).all():
            return p
    return None


@pattern(*CONVOLUTIONS, rank=2)
def accumulator_short(s: Sight) -> Guesses:
    """Sums that are float16 or bfloat16 and no further from the right ones than such sums may be."""
    sums = _sums(s)
    if sums is None:
        return
    plain, allowance = recipes.rough(s.recipe.but(bias=None), np.arange(recipes.positions(s.recipe)))
    plain, allowance = plain.reshape(sums.shape), allowance.reshape(sums.shape)
    for name, narrow, unit in (("float16", to_float16, 2.0**-11), ("bfloat16", to_bfloat16, 2.0**-8)):
        near = np.abs(plain - sums) <= allowance * (unit / recipes.ROUNDING)
        once = np.count_nonzero(narrow(plain.astype(np.float32)) == sums) / sums.size
        if (narrow(sums) == sums).all() and near.all() and once < 1:
            words = f"sums kept in {name}, or rounded to it more than once, in an order that is not on the list"
            yield Guess(words, s.got, of_sums=True)


@pattern(*CONVOLUTIONS)
def accumulator_not_cleared(s: Sight) -> Guesses:
    """Sums that start from what an earlier one left."""
    sums = recipes.run(s.recipe.but(bias=None)).astype(np.float64)
    bias = 0.0 if s.recipe.bias is None else s.recipe.bias.astype(np.float64)
    N, H, W, F = sums.shape
    terms = s.recipe.kernels[0].size / s.recipe.kernels[0].shape[3] + 2
    for words, shape in {
        "from filter to filter at every position": (N * H * W, F, 1),
        "within a row, from position to position": (N * H, W * F, 1),
        "within a sample": (N, H * W * F, 1),
        "at all": (1, N * H * W * F, 1),
        "of every filter, from position to position within a row": (N * H, W, F),
        "of every filter, from position to position": (N, H * W, F),
        "of every filter at all": (1, N * H * W, F),
    }.items():
        if shape[1] > 1 and not (N == 1 and words.endswith("at all")):
            total = np.cumsum(sums.reshape(shape), 1)
            largest = np.maximum.accumulate(np.abs(total), 1) + np.abs(sums).max()
            steps = terms * np.arange(1, shape[1] + 1)[None, :, None]
            allowance = (DRIFT * np.sqrt(steps) * largest).reshape(sums.shape) + 2.0**-22 * np.abs(bias)
            told = f"accumulator not cleared {words}: a sum starts from the one before"
            yield Guess(told, total.reshape(sums.shape) + bias, allowance, of_sums=True)
            seen = s.got - bias if s.evidence.acc is None else s.evidence.acc.astype(np.float64)
            left = float(seen.flat[0]) - float(total.flat[0])
            if shape[:1] == (1,) and shape[2] == 1 and np.isfinite(left):
                y = total.reshape(sums.shape) + left
                yield Guess(f"{told}, the first one from {left:.6g}", y + bias,
                            allowance + CARRIED * np.abs(y), of_sums=True)


@pattern(*CONVOLUTIONS, rank=2)
def accumulator_carried(s: Sight) -> Guesses:
    """A sum starts from a part of what was summed before, where it is wrong or everywhere."""
    r = s.recipe
    bias = 0.0 if r.bias is None else r.bias.astype(np.float64)
    sums = recipes.run(r.but(bias=None)).astype(np.float64)
    seen = s.got.astype(np.float64) - bias if s.evidence.acc is None else s.evidence.acc.astype(np.float64)
    if not (np.isfinite(seen).all() and np.isfinite(sums).all()):
        return
    wide = CARRIED * (np.abs(seen) + np.abs(sums) + np.abs(bias)).max(initial=0)
    for words, before in _earlier(seen):
        for where, mask in (("", np.ones(seen.shape, bool)), (" where the output is wrong", s.differs)):
            base, off = before[mask], (seen - sums)[mask]
            power = float((base * base).sum())
            if not power:
                continue
            factor = float((base * off).sum()) / power
            for share in dict.fromkeys((float(f"{factor:.2g}"), float(f"{factor:.5g}"))):
                y = sums + share * np.where(mask, before, 0)
                y.flat[0] = seen.flat[0]  # what is left from an earlier layer is not known
                times = "" if share == 1 else f"{share:g} times "
                if share:
                    yield Guess(f"a sum starts from {times}{words}{where}: the accumulator is not cleared", y + bias,
                                np.full(y.shape, wide), name="accumulator_not_cleared", of_sums=True)


def _earlier(seen: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(words, for every sum another that was taken before it), (N, H, W, F)."""
    flat = seen.reshape(len(seen), -1)
    moved = np.concatenate([np.zeros_like(flat[:, :1]), flat[:, :-1]], 1)
    yield "the one before it in memory", moved.reshape(seen.shape)
    for axis, words in ((3, "that of the filter before"), (2, "that of the position before"),
                        (1, "that of the row above")):
        if seen.shape[axis] > 1:
            moved = np.roll(seen, 1, axis)
            np.moveaxis(moved, axis, 0)[0] = 0
            yield words, moved


@pattern("max_pool2d")
def maximum_not_cleared(s: Sight) -> Guesses:
    """A running maximum that is kept from window to window."""
    N, H, W, C = s.right.shape
    for words, shape in {
        "from channel to channel": (N * H * W, C, 1),
        "within a row, of every channel": (N * H, W, C),
        "within a sample, of every channel": (N, H * W, C),
        "within a sample": (N, H * W * C, 1),
        "at all": (1, N * H * W * C, 1),
    }.items():
        y = np.maximum.accumulate(s.right.reshape(shape), 1).reshape(s.right.shape)
        yield Guess(f"running maximum not cleared {words}", y)
