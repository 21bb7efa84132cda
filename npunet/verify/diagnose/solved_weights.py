"""Patterns of weights that are solved from a convolution's sums: a few that are others, or all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import rearranged
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.solved_sums import SAMPLE, pooled, products, solving

BEYOND = 8  # sums for each filter beyond its weights, at least, so that a wrong solution shows
KNOWN_AGAIN = 4  # weights that are recognised in another array
ALIKE = 1e-4  # of the largest: by which solved weights may miss them
MOST_FEW = 24  # weights of a filter that are sought one by one


@pattern(*CONVOLUTIONS, rank=2)
@solving
def weights_few(s: Sight) -> Guesses:
    """A few weights of each filter are others, where there are too few positions to solve all of them."""
    r, w = s.recipe, s.recipe.kernels[0]
    x, sums = pooled(s, SAMPLE)
    if not len(x):
        return
    off = sums - products(r, x, w)
    room = 1e-6 * np.abs(sums).max(initial=0)
    change = np.zeros(w.shape)
    for f in np.flatnonzero(np.abs(off).max(0) > room):
        if r.op == "conv2d":
            columns, at = x.reshape(len(x), -1), (slice(None), slice(None), slice(None), f)
        else:
            c, m = divmod(int(f), w.shape[3])
            columns, at = x[..., c].reshape(len(x), -1), (slice(None), slice(None), c, m)
        found = _sparse(columns, off[:, f], room, min(len(x) // 6, MOST_FEW))
        if found is None:
            return
        change[at] = found.reshape(w[at].shape)
    if change.any():
        other = (w + change).astype(np.float32)
        for name, words, kernel in rearranged.of_weights(w, w + change):
            yield Guess(words, name=name, recipe=r.but(kernels=(kernel, *r.kernels[1:])), fixed=True)
        yield Guess(_said(s, w, other, change != 0), name="weights_fitted",
                    recipe=r.but(kernels=(other, *r.kernels[1:])), fixed=True)


def _sparse(columns: np.ndarray, off: np.ndarray, room: float, most: int) -> np.ndarray | None:
    """A few weights that explain a difference, the best one after the other (Pati, Rezaiifar, Krishnaprasad 1993)."""
    size = np.sqrt((columns * columns).sum(0))
    chosen: list[int] = []
    rest = off
    for _ in range(min(most, columns.shape[1])):
        chosen.append(int((np.abs(columns.T @ rest) / np.where(size > 0, size, np.inf)).argmax()))
        part = np.linalg.lstsq(columns[:, chosen], off, rcond=1e-12)[0]
        rest = off - columns[:, chosen] @ part
        if np.abs(rest).max() <= room:
            found = np.zeros(columns.shape[1])
            found[chosen] = part
            return found
    return None


@pattern(*CONVOLUTIONS, rank=3)
@solving
def weights_others(s: Sight) -> Guesses:
    """Other weights everywhere, solved from more sums than there are weights: what was loaded, or paired, otherwise."""
    r, w = s.recipe, s.recipe.kernels[0]
    x, sums = pooled(s, 4 * SAMPLE)
    taps = x.shape[1] * x.shape[2] * (x.shape[3] if r.op == "conv2d" else 1)
    if len(x) < taps + max(BEYOND, taps // 4):
        return
    solved = np.empty(w.shape)
    for part, columns, wanted in _filters(r, x, sums):
        found, _, rank, _ = np.linalg.lstsq(columns, wanted, rcond=1e-9)
        if rank < columns.shape[1]:
            return
        solved[part] = found.reshape(solved[part].shape)
    other = solved.astype(np.float32)
    room = 1e-4 * np.abs(w).max(initial=0)
    off = np.abs(solved - w)
    if (off <= room).all():
        return
    for name, words, kernel in rearranged.of_weights(w, solved):
        yield Guess(words, name=name, recipe=r.but(kernels=(kernel, *r.kernels[1:])), fixed=True)
    kind = "all near the right ones, as if rounded" if off.max() < 0.05 * np.abs(w).max() else (
        "the kernel that was loaded is another, or weights and inputs are paired otherwise")
    yield Guess(f"{_said(s, w, other, off > room)} ({kind})", name="weights_fitted",
                recipe=r.but(kernels=(other, *r.kernels[1:])), fixed=True)


def _said(s: Sight, w: np.ndarray, other: np.ndarray, changed: np.ndarray) -> str:
    """Which weights are others, and where in the network's weights these numbers stand, if they do."""
    flat, most = np.flatnonzero(changed), np.unravel_index(np.abs(other - w).argmax(), w.shape)
    first, count = int(flat[0]), len(flat)
    where = f", number {first} to {flat[-1]} in memory" if flat[-1] - first < 2 * count + 4 and count > 1 else ""
    words = (f"the sums are those of other weights: {count} of {w.size}{where}, most of all "
             f"[{', '.join(map(str, most))}] {other[most]:.6g}, not {w[most]:.6g}")
    if where and count >= KNOWN_AGAIN:
        run = other.ravel()[first : flat[-1] + 1]
        for name, array in s.bundle.weights.items():
            held, room = array.ravel(), ALIKE * np.abs(run).max()
            if len(held) < len(run):
                continue
            starts = np.flatnonzero(np.abs(held[: len(held) - len(run) + 1] - run[0]) <= room)
            for start in starts.tolist():
                if (np.abs(held[start : start + len(run)] - run) <= room).all():
                    return f"{words}; these stand in {name} from its element {start} on"
    return words


def _filters(r: Recipe, x: np.ndarray, sums: np.ndarray) -> Iterator[tuple[tuple, np.ndarray, np.ndarray]]:
    """(part of the kernel, what its weights are multiplied with, the sums) of what can be solved at once."""
    if r.op == "conv2d":
        yield (Ellipsis,), x.reshape(len(x), -1), sums
        return
    M = r.kernels[0].shape[3]
    for c in range(r.kernels[0].shape[2]):
        yield (slice(None), slice(None), c), x[..., c].reshape(len(x), -1), sums[:, c * M : (c + 1) * M]
