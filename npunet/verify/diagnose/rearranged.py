"""Weights that were solved from a convolution's output, beside the right ones: the same numbers in another order, or
zeros instead of the small ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NEAR = 1e-3  # of the largest weight: by which a solved weight may miss the one that it is
AXES = ("rows", "columns", "input channels", "filters")
SHOWN = 8
BEYOND = 0.1  # share of weights that may come from beyond the kernel's end

Named = Iterator[tuple[str, str, np.ndarray]]


def of_weights(w: np.ndarray, solved: np.ndarray) -> Named:
    """(hypothesis, words, kernel made of right weights) that the solved kernel suggests.

    w      : (KH, KW, C, F) float32
    solved : the same shape, float64, with the solution's error
    """
    room = NEAR * float(np.abs(w).max(initial=0))
    if not np.isfinite(solved).all() or room == 0 or np.abs(solved - w).max() <= room:
        return
    yield from _pruned(w, solved, room)
    moved = False
    for axis in (3, 2, 1, 0):
        order = _order(w, solved, axis, room)
        if order is not None:
            moved = True
            listed = ", ".join(map(str, order[:SHOWN])) + (", ..." if len(order) > SHOWN else "")
            yield "weights_permuted", f"{AXES[axis]} of the weights in the order {listed}", np.take(w, order, axis)
    if not moved:
        yield from _shuffled(w, solved, room)
        yield from _gathered(w, solved, room)


def _pruned(w: np.ndarray, solved: np.ndarray, room: float) -> Named:
    """All weights below a limit are zero, and no other is changed."""
    zero = (np.abs(solved) <= room) & (np.abs(w) > room)
    if zero.any():
        limit = float(np.abs(w[zero]).max())
        kernel = np.where(np.abs(w) <= np.float32(limit), np.float32(0), w)
        if np.abs(kernel - solved).max() <= room:
            count = int(np.count_nonzero((kernel == 0) & (w != 0)))
            yield "weights_pruned", f"the {count} weights up to {limit:.4g} in magnitude are zero (pruned)", kernel


def _order(w: np.ndarray, solved: np.ndarray, axis: int, room: float) -> list[int] | None:
    """Which slice of the right weights stands in each place along an axis, where each is one of them."""
    right, found = (np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1) for value in (w, solved))
    off = np.abs(found[:, None] - right[None]).max(2)  # (place, slice)
    order = off.argmin(1)
    fits = bool((off[np.arange(len(order)), order] <= room).all())
    return order.tolist() if fits and (order != np.arange(len(order))).any() else None


def _gathered(w: np.ndarray, solved: np.ndarray, room: float) -> Named:
    """Every solved weight is one of the right ones, some of them more than once: a wrong stride from tap to tap."""
    flat, found = w.ravel().astype(np.float64), solved.ravel()
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    if len(ranked) < 2 or np.diff(ranked).min() <= 0 or np.median(np.diff(ranked)) < room:
        return
    at = np.clip(np.searchsorted(ranked, found), 1, len(ranked) - 1)
    at = np.where(np.abs(ranked[at - 1] - found) < np.abs(ranked[at] - found), at - 1, at)
    outside = np.abs(ranked[at] - found) > room
    places = order[at]
    taps, size = w.shape[0] * w.shape[1], w.shape[2] * w.shape[3]
    n = np.arange(w.size)
    steps = (places - n).reshape(taps, size)
    steps = np.where(outside.reshape(taps, size), steps[:, :1], steps)
    if outside.mean() > BEYOND or (steps != steps[:, :1]).any() or not steps.any():
        return
    starts = ", ".join(str(tap * size + int(steps[tap, 0])) for tap in range(min(taps, SHOWN)))
    right = ", ".join(str(tap * size) for tap in range(min(taps, SHOWN)))
    kernel = np.where(outside, found, flat[places]).astype(np.float32).reshape(w.shape)
    words = f"the weights of the taps are read from elements {starts} on instead of {right}"
    yield "weights_permuted", f"{words} (another stride from tap to tap)", kernel


def _shuffled(w: np.ndarray, solved: np.ndarray, room: float) -> Named:
    """The right weights one and all, in an order that follows no axis."""
    values, places = np.sort(w.ravel()), np.argsort(solved.ravel(), kind="stable")
    if np.abs(values - solved.ravel()[places]).max() > room or np.diff(values).min(initial=1) <= 0:
        return
    kernel = np.empty(w.size, np.float32)
    kernel[places] = values
    at = int(np.flatnonzero(kernel != w.ravel())[0])
    told = int(np.flatnonzero(w.ravel() == kernel[at])[0])
    words = f"the right weights in another order in memory: number {told} stands where {at} belongs, and so on"
    yield "weights_permuted", words, kernel.reshape(w.shape)
