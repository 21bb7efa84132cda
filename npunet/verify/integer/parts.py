"""In which part of the output a faulty form is what a port has, while all else is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npunet.verify.diagnose.regions import runs

AXES = {3: "channel", 2: "column", 1: "row"}
ORDINALS = {2: "nd", 3: "rd"}
ENOUGH = 4  # elements that differ: fewer are no evidence for a part
PIECES = 2  # that a part of an axis may consist of: a longer list is chosen to fit, and explains nothing
ENOUGH_BY_VALUE = 12  # for a part that is chosen by the values


@dataclass(frozen=True)
class Shown:
    """One case: what the port has, what is right, what the faulty form gives, (N, H, W, C) each.

    known : where the faulty form is known; all of it with None
    sums  : the right sums or values by which a part may be chosen; None where there are none
    marks : values where a part may begin, beside 0 and the powers of two
    """

    got: np.ndarray
    right: np.ndarray
    faulty: np.ndarray
    known: np.ndarray | None = None
    sums: np.ndarray | None = None
    marks: tuple[int, ...] = ()

    @property
    def needed(self) -> np.ndarray:
        """Where the faulty form must be what was run."""
        return np.not_equal(self.got, self.right)

    @property
    def barred(self) -> np.ndarray:
        """Where it cannot have been."""
        wrong = np.not_equal(self.faulty, self.got)
        return wrong if self.known is None else wrong & self.known


def part(shown: Sequence[Shown]) -> str | None:
    """Words for where the faulty form stands: "" everywhere, " in channel 2 of 4 alone"; None where it does not fit."""
    if any((each.needed & each.barred).any() for each in shown):
        return None
    if not any(each.barred.any() for each in shown):
        return ""
    if sum(int(each.needed.sum()) for each in shown) < ENOUGH:
        return None
    return _along_an_axis(shown) or _in_memory(shown) or _tile(shown) or _by_value(shown)


def _free(shown: Sequence[Shown], masks: Sequence[np.ndarray]) -> bool:
    return not any((each.barred & mask).any() for each, mask in zip(shown, masks, strict=True))


def _along_an_axis(shown: Sequence[Shown]) -> str | None:
    for axis, named in AXES.items():
        extent, others = shown[0].got.shape[axis], tuple(k for k in range(4) if k != axis)
        needed = np.any([each.needed.any(others) for each in shown], 0)
        barred = np.any([each.barred.any(others) for each in shown], 0)
        if (needed & barred).any():
            continue
        count = sum(int(each.needed.sum()) for each in shown)
        where = _simple(np.flatnonzero(needed), barred, named, count)
        if where:
            return f", in {where} of {extent} alone"
    return None


def _simple(at: np.ndarray, barred: np.ndarray, named: str, count: int) -> str:
    """A part of an axis in words, which has all of `at` and nothing that is barred; "" where only a list would do.

    barred : (extent,) bool;  count : elements that differ, ENOUGH for every piece
    """
    inside = np.arange(at[0], at[-1] + 1)
    least = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    free = inside[~barred[inside]]                                         # as much as is allowed between the ends
    most = [each for each in np.split(free, np.flatnonzero(np.diff(free) > 1) + 1) if np.isin(each, at).any()]
    for pieces in (least, most):
        if len(pieces) <= PIECES and count >= ENOUGH * len(pieces):
            every = np.concatenate(pieces)
            return f"{named} {runs(every)}" if len(every) == 1 else f"{named}s {runs(every)}"
    for step in range(2, len(inside) // 2 + 1):
        if (at % step == at[0] % step).all() and not barred[at[0] : at[-1] + 1 : step].any():
            return f"every {step}{ORDINALS.get(step, 'th')} {named} from {at[0]} to {at[-1]}"
    return ""


def _in_memory(shown: Sequence[Shown]) -> str | None:
    """From one element of a sample on, or up to one; some samples alone."""
    needed = [np.flatnonzero(each.needed.reshape(len(each.got), -1).any(0)) for each in shown]
    first, last = (int(of(at)) for of, at in ((min, [k.min() for k in needed if k.size]),
                                              (max, [k.max() for k in needed if k.size])))
    size = shown[0].got[0].size
    flat = [np.broadcast_to(np.arange(size).reshape(each.got.shape[1:]), each.got.shape) for each in shown]
    if first and _free(shown, [at >= first for at in flat]):
        return f", from element {first} of {size} on"
    if last < size - 1 and _free(shown, [at <= last for at in flat]):
        return f", up to element {last} of {size}"
    if first and last < size - 1 and _free(shown, [(at >= first) & (at <= last) for at in flat]):
        return f", in elements {first} to {last} of {size} alone"
    for block in (2, 4, 8, 16):
        rest = np.unique(np.concatenate(needed) % block)
        if len(rest) == 1 and size > 2 * block and _free(shown, [at % block == rest[0] for at in flat]):
            return f", in every element whose number is {rest[0]} modulo {block}"
    samples = [np.asarray(each.needed.any((1, 2, 3))) for each in shown]
    if any(not at.all() for at in samples) and all(not (each.barred.any((1, 2, 3)) & at).any() for each, at in
                                                   zip(shown, samples, strict=True)):
        if all(not at.size or not at[0] for at in samples):
            return ", in every sample but the first"
        if all(not at[1:].any() for at in samples):
            return ", in the first sample of a case alone"
    return None


def _tile(shown: Sequence[Shown]) -> str | None:
    """A rectangle of rows, columns and channels, or all around one."""
    spans, ends = [], []
    for axis in (1, 2, 3):
        others = tuple(k for k in range(4) if k != axis)
        at = np.flatnonzero(np.any([each.needed.any(others) for each in shown], 0))
        steps = np.unique(np.diff(at))
        spans.append(at if len(steps) < 2 else np.arange(at[0], at[-1] + 1))   # a run, or every n-th
        ends.append((int(at[0]), int(at[-1])))
    box = np.zeros(shown[0].got.shape[1:], bool)
    box[np.ix_(*spans)] = True
    extents = shown[0].got.shape[1:]
    if not box.all() and _free(shown, [np.broadcast_to(box, each.got.shape) for each in shown]):
        said = [f"{name}s {runs(at)} of {extent}" for name, at, extent in
                zip(("row", "column", "channel"), spans, extents, strict=True) if len(at) < extent]
        return f", where {' and '.join(said)} meet alone"
    for width in (1, 2, 3):
        middle = np.zeros(extents, bool)
        middle[width if extents[0] > 2 * width else 0 : -width if extents[0] > 2 * width else None,
               width if extents[1] > 2 * width else 0 : -width if extents[1] > 2 * width else None] = True
        for mask, words in ((~middle, "at the border alone"), (middle, "inside of the border alone")):
            full = [np.broadcast_to(mask, each.got.shape) for each in shown]
            inside = all(not (each.needed & ~at).any() for each, at in zip(shown, full, strict=True))
            if mask.any() and not mask.all() and inside and _free(shown, full):
                return f", {words} ({width} wide)"
    return None


def _by_value(shown: Sequence[Shown]) -> str | None:
    """Where sums, or values, are negative, or beyond a power of two."""
    count = sum(int(each.needed.sum()) for each in shown)
    if count < ENOUGH_BY_VALUE or any(each.sums is None for each in shown):
        return None
    sums = [(each, each.sums) for each in shown if each.sums is not None]
    needed = np.concatenate([values[each.needed] for each, values in sums])
    barred = np.concatenate([values[each.barred] for each, values in sums])
    powers = [sign * 2**k for k in range(31) for sign in (1, -1)]
    for limit in (0, *shown[0].marks, *powers, *(power - 1 for power in powers), *(power + 1 for power in powers)):
        if needed.min() >= limit > barred.max():
            return f", where the sum is at least {limit} alone"
        if needed.max() < limit <= barred.min():
            return f", where the sum is below {limit} alone"
    for rest in (0, 1):
        if (needed % 2 == rest).all() and (barred % 2 != rest).all():
            return f", where the sum is {'odd' if rest else 'even'} alone"
    return None
