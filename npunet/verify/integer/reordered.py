"""Weights that are the right ones in another order."""

from __future__ import annotations

from itertools import permutations

import numpy as np

ENOUGH = 4  # weights that differ, and weights of a part of an axis: fewer are equal by chance
NAMES = ("rows of taps", "columns of taps", "input channels", "filters")
SHOWN = 6


def reordered(w: np.ndarray, weights: np.ndarray, depthwise: bool) -> str:
    """Words for an order in which the right weights w (KH, KW, C, F) are all of the port's, "" where there is none."""
    if np.count_nonzero(w != weights) < ENOUGH or not np.array_equal(np.sort(w, None), np.sort(weights, None)):
        return ""
    names: tuple[str, ...] = NAMES
    letters: tuple[str, ...] = ("KH", "KW", "C", "F")
    if depthwise:
        names, letters = (*NAMES[:2], "channels"), ("KH", "KW", "C")
        w, weights = (each.reshape(*each.shape[:2], -1) for each in (w, weights))
    for axis, name in enumerate(names):
        order = _along(w, weights, axis)
        if order:
            whose = "its weights" if name == "filters" else "its weights or its input"
            return f"reads {whose} in another order: the {name} are {order}"
    return _layout(w, weights, letters) or _words(w.ravel(), weights.ravel())


def _orders(n: int) -> dict[str, np.ndarray]:
    """Orders of n things that have a name."""
    at = np.arange(n)
    found = {"in reverse order": at[::-1], "one early, around the end": np.roll(at, -1),
             "one late, around the end": np.roll(at, 1),
             "exchanged in pairs, each with its neighbour (0 with 1, 2 with 3, ...)": np.where(at ^ 1 < n, at ^ 1, at),
             "even ones first, then odd ones": np.r_[at[::2], at[1::2]],
             "first and second half by turns": np.argsort(np.r_[at[::2], at[1::2]], kind="stable")}
    if n % 2 == 0:
        found["those of the other half: the halves are swapped"] = np.roll(at, n // 2)
    for block in (4, 8):
        whole = at // block * block
        mirrored = whole + block - 1 - at % block
        found[f"in reverse order in each block of {block}"] = np.where(whole + block <= n, mirrored, at)
    return found


def _along(w: np.ndarray, weights: np.ndarray, axis: int) -> str:
    """The order of an axis in words, "" where none gives the port's weights."""
    n = w.shape[axis]
    if n < 2:
        return ""
    for words, order in _orders(n).items():
        if np.array_equal(w.take(order, axis), weights):
            return words
    right, made = (np.ascontiguousarray(np.moveaxis(each, axis, 0).reshape(n, -1)) for each in (w, weights))
    places = {row.tobytes(): k for k, row in enumerate(right)}
    found = [k if np.array_equal(right[k], row) else places.get(row.tobytes(), -1) for k, row in enumerate(made)]
    if right.shape[1] < ENOUGH or sorted(found) != list(range(n)):
        return ""
    moved = [f"{source} in the place of {k}" for k, source in enumerate(found) if source != k]
    return ", ".join(moved[:SHOWN]) + (f", and {len(moved) - SHOWN} more" if len(moved) > SHOWN else "")


def _layout(w: np.ndarray, weights: np.ndarray, letters: tuple[str, ...]) -> str:
    """The axes in another order in memory: as they are stored, or as they are read."""
    kept = [axis for axis, size in enumerate(w.shape) if size > 1]
    w, weights, letters = w.squeeze(), weights.squeeze(), tuple(letters[axis] for axis in kept)
    for order in permutations(range(len(kept))):
        other, own = (" ".join(letters[axis] for axis in axes) for axes in (order, range(len(kept))))
        each = ", one channel after the other," if letters[order[0]] == "C" and "F" not in letters else ""
        if np.array_equal(w.transpose(order).ravel(), weights.ravel()):
            return f"reads its weights in another order: they are stored as {other}{each} and read as {own}"
        read = w.ravel().reshape([w.shape[axis] for axis in order]).transpose(np.argsort(order))
        if np.array_equal(read, weights):
            return f"reads its weights in another order: they are stored as {own} and read as {other}{each[:-1]}"
    return ""


def _words(w: np.ndarray, weights: np.ndarray) -> str:
    """The bytes of every word of memory in reverse order."""
    for block in (2, 4, 8):
        whole = len(w) // block * block
        turned = np.r_[w[:whole].reshape(-1, block)[:, ::-1].ravel(), w[whole:]]
        if np.array_equal(turned, weights):
            return f"reads its weights in another order: those of every {block} bytes are in reverse order"
    return ""
