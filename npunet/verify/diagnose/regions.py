"""The honest fallback: no cause is on the list, so where the port errs is all that is told."""

from __future__ import annotations

import numpy as np

from npunet.verify.diagnose.causes import NOT_LISTED, REGION, Cause

AXES = ("sample", "row", "column", "channel")
SPREAD = 0.5  # share of an axis from which on what differs is not said to lie in a part of it


def fallback(differs: np.ndarray, explained: int, total: int, tried: int, width: int = 4) -> Cause:
    """Where the port errs, as the one thing that is known.

    differs   : (N, H, W, C) bool, of the case that shows the fault best
    explained : elements that the unchanged reference gives, of a total
    tried     : causes that were compared
    width     : bytes of an element
    """
    count, where = int(np.count_nonzero(differs)), region(differs, width)
    if where:
        words = f"not on the list of causes ({tried} tried): {count} of {differs.size} differ, all in {where}"
        return Cause((REGION,), words, explained, total, True)
    words = f"not on the list of causes ({tried} tried): {count} of {differs.size} differ, all over the output"
    return Cause((NOT_LISTED,), words, explained, total, True)


def region(differs: np.ndarray, width: int = 4) -> str:
    """Rows, columns, channels, or the bytes between which everything that differs lies; "" where it lies all over.

    width : bytes of an element
    """
    found = [_along(differs, axis) for axis in range(4)]
    said = tile(differs, width) or ", ".join(words for words in found if words)
    flat = np.flatnonzero(differs.ravel())
    first, last = int(flat[0]), int(flat[-1])
    if (last - first + 1) <= SPREAD * differs.size:
        run = f"bytes {width * first} to {width * last + width - 1} of {width * differs.size}"
        return f"{said} ({run})" if said else run
    return said


def tile(differs: np.ndarray, width: int = 4) -> str:
    """A rectangle of rows and columns around all that differs, "" where it is not small in both."""
    _, H, W, C = differs.shape
    rows, columns = (np.flatnonzero(differs.any(axes)) for axes in ((0, 2, 3), (0, 1, 3)))
    spans = [int(at[-1] - at[0]) + 1 for at in (rows, columns)]
    if H == 1 or W == 1 or spans[0] > SPREAD * H or spans[1] > SPREAD * W:
        return ""
    channels = _along(differs, 3)
    offset = width * (int(rows[0]) * W + int(columns[0])) * C
    where = f"row {rows[0]} of {H}, column {columns[0]} of {W}"
    return (f"a tile of {spans[0]} rows x {spans[1]} columns at {where} (from byte {offset} of a sample on, "
            f"{width * W * C} bytes from row to row)" + (f", {channels}" if channels else ""))


def _along(differs: np.ndarray, axis: int) -> str:
    extent = differs.shape[axis]
    at = np.flatnonzero(differs.any(tuple(k for k in range(4) if k != axis)))
    if extent == 1 or len(at) > SPREAD * extent:
        return ""
    name = AXES[axis] if len(at) == 1 else f"{AXES[axis]}s"
    return f"{name} {runs(at)} of {extent}"


def runs(numbers: np.ndarray) -> str:
    """Sorted integers in words: 3, 5 to 8, ..."""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    told = [f"{part[0]}" if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts[:4]]
    return ", ".join(told) + (", ..." if len(parts) > 4 else "")
