"""Weights that are the right ones in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations

import numpy as np

from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS

ENOUGH = 4  # weights that differ, and weights of a part of an axis: fewer are equal by chance
NAMES = ("rows of taps", "columns of taps", "input channels", "filters")
SHOWN = 6
Suspect = tuple[str, Callable[[Evidence], np.ndarray]]


def reordered(w: np.ndarray, weights: np.ndarray, depthwise: bool) -> str:
    """Words for an order in which the right weights w (KH, KW, C, F) are all of the port's, "" where there is none."""
    if np.count_nonzero(w != weights) < ENOUGH or not np.array_equal(np.sort(w, None), np.sort(weights, None)):
        return ""
    for words, other in in_other_orders(w, depthwise):
        if np.array_equal(other, weights):
            return words
    names = _names(depthwise)[0]
    w, weights = (each.reshape(*each.shape[:2], -1) if depthwise else each for each in (w, weights))
    for axis, name in enumerate(names):
        order = _along(w, weights, axis)
        if order:
            return f"{_whose(name)}: the {name} are {order}"
    return ""


def orders(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """A convolution whose weights, or input, are read in each order that has a name: sums need not be shown."""
    node = evidence[0].node
    if node.op in CONVOLUTIONS:
        for words, weights in in_other_orders(node.arrays["weights"], node.op == "depthwise_conv2d"):
            yield words, partial(_with_weights, weights)


def _with_weights(weights: np.ndarray, e: Evidence) -> np.ndarray:
    return e.run(arrays={"weights": weights})


def in_other_orders(w: np.ndarray, depthwise: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Weights w (KH, KW, C, F) in every other order that has a name, of the same shape, each with words."""
    names, letters = _names(depthwise)
    axes = w.reshape(*w.shape[:2], -1) if depthwise else w
    for axis, name in enumerate(names):
        for words, order in _orders(axes.shape[axis]).items():
            if (order != np.arange(len(order))).any():
                yield f"{_whose(name)}: the {name} are {words}", axes.take(order, axis).reshape(w.shape)
    for words, other in (*_layouts(axes, letters), *_words(w)):
        if (other.ravel() != w.ravel()).any():
            yield f"reads its weights in another order: {words}", other.reshape(w.shape)


def _names(depthwise: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the axes: in words, and as letters."""
    return ((*NAMES[:2], "channels"), ("KH", "KW", "C")) if depthwise else (NAMES, ("KH", "KW", "C", "F"))


def _whose(name: str) -> str:
    return f"reads its weights{'' if name == 'filters' else ' or its input'} in another order"


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
    """The order of an axis in words, place by place, "" where none gives the port's weights."""
    n = w.shape[axis]
    right, made = (np.ascontiguousarray(np.moveaxis(each, axis, 0).reshape(n, -1)) for each in (w, weights))
    places = {row.tobytes(): k for k, row in enumerate(right)}
    found = [k if np.array_equal(right[k], row) else places.get(row.tobytes(), -1) for k, row in enumerate(made)]
    if right.shape[1] < ENOUGH or sorted(found) != list(range(n)):
        return ""
    moved = [f"{source} in the place of {k}" for k, source in enumerate(found) if source != k]
    return ", ".join(moved[:SHOWN]) + (f", and {len(moved) - SHOWN} more" if len(moved) > SHOWN else "")


def _layouts(w: np.ndarray, letters: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The axes in another order in memory: as they are stored, or as they are read."""
    letters = tuple(letter for letter, size in zip(letters, w.shape, strict=True) if size > 1)
    w = w.squeeze()
    own = " ".join(letters)
    for order in permutations(range(len(letters))):
        other = " ".join(letters[axis] for axis in order)
        each = ", one channel after the other" if letters and letters[order[0]] == "C" and "F" not in letters else ""
        yield f"they are stored as {other}{each}{',' if each else ''} and read as {own}", w.transpose(order)
        read = w.ravel().reshape([w.shape[axis] for axis in order]).transpose(np.argsort(order))
        yield f"they are stored as {own} and read as {other}{each}", read


def _words(w: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The bytes of every word of memory in reverse order."""
    flat = w.ravel()
    for block in (2, 4, 8):
        whole = len(flat) // block * block
        turned = np.r_[flat[:whole].reshape(-1, block)[:, ::-1].ravel(), flat[whole:]]
        yield f"those of every {block} bytes are in reverse order", turned
