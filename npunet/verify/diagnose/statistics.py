"""Patterns of layer norms: the mean and the deviation of every channel are read off the output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.regions import runs

CLOSE = 2e-6  # of values: the solution's own error and that of one formula or another
TINY = 1e-30
ROOT = 0.01  # of a deviation: what a quick root is off, at most
LITTLE = 1e-3  # of a deviation: statistics that are no further off are less exact, not others


@pattern("layer_norm")
def layer_norm_statistics(s: Sight) -> Guesses:
    """Gamma and beta are right, the statistics are not: which ones, and how."""
    x = s.inputs[0].astype(np.float64)
    gamma, beta = (w.astype(np.float64)[None, :, :, None] for w in s.recipe.kernels)
    N, _, _, C = x.shape
    eps = s.recipe.attrs["eps"]
    mean, var = x.mean((1, 2)), x.var((1, 2))  # (N, C)
    inv = 1 / np.sqrt(var + eps)
    got = s.got.astype(np.float64) - beta
    scale, shift = np.empty((N, C)), np.empty((N, C))
    for k in range(N):
        for c in range(C):
            columns = np.stack([(x[k, ..., c] * gamma[0, ..., 0]).ravel(), gamma[0, ..., 0].ravel()], 1)
            wanted = got[k, ..., c].ravel()
            if not (np.isfinite(columns).all() and np.isfinite(wanted).all()):
                return
            size = np.abs(columns) @ [inv[k, c], np.abs(mean[k, c]) * inv[k, c]] + np.abs(beta[0, ..., 0]).ravel()
            size = np.maximum(size, TINY)
            scale[k, c], shift[k, c] = np.linalg.lstsq(columns / size[:, None], wanted / size, rcond=None)[0]
    y = (x * scale[:, None, None] + shift[:, None, None]) * gamma + beta
    size = np.abs(x * scale[:, None, None] * gamma) + np.abs(shift[:, None, None] * gamma) + np.abs(beta)
    near = CLOSE * size
    if (np.abs(y - s.got) > near).any() or (scale == 0).any():
        return
    middle, spread = -shift / scale, scale / inv  # the port's mean, and its share of the right 1 / deviation
    off = np.abs(middle - mean) * inv
    for words, fits in (*_told(middle, scale, mean, var, eps), *_of_others(x, middle, scale, eps)):
        if fits:
            yield Guess(f"layer norm: {words}", y, near)
            return
    if off.max() < LITTLE and np.abs(spread - 1).max() < LITTLE:
        yield Guess("layer norm with statistics that are less exact: mean off by up to "
                    f"{off.max():.1g} deviations, the deviation by {np.abs(spread - 1).max():.1g} of itself", y, near)
        return
    if off.max() < LITTLE and np.abs(spread - 1).max() < ROOT:
        yield Guess("layer norm with 1 / deviation approximated (a quick root or a table): off by up to "
                    f"{np.abs(spread - 1).max():.2g} of itself", y, near)
        return
    wrong = (off >= LITTLE) | (np.abs(spread - 1) >= LITTLE)
    n, c = map(int, np.unravel_index(int((off + np.abs(spread - 1)).argmax()), off.shape))
    told = [f"{what} {value[n, c]:.6g} instead of {right[n, c]:.6g}" for what, value, right, other in (
        ("mean", middle, mean, off.max() >= LITTLE), ("1 / deviation", scale, inv, np.abs(spread - 1).max() >= LITTLE))
        if other]
    at = np.flatnonzero(wrong.any(0))
    channels = f"channel{'s' if len(at) > 1 else ''} {runs(at)}"
    if np.abs(scale - 1).max() <= 4e-6 and np.abs(middle).max() <= 4e-6:
        yield Guess("layer norm: values are not normalised, only multiplied with gamma, with beta added", y, near)
        return
    yield Guess(f"layer norm with other statistics in {channels} of {C}: in {c} {', '.join(told)}", y, near)


def _told(
    middle: np.ndarray, scale: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> Iterator[tuple[str, bool]]:
    """(words, whether they hold) for statistics that were made otherwise."""
    inv = 1 / np.sqrt(var + eps)
    tight = 4e-6 * (1 + np.abs(mean) * inv) / inv  # (N, C): the solution's error of a mean
    right_mean, right_scale = np.abs(middle - mean) <= tight, np.abs(scale / inv - 1) <= 4e-6
    ratio = scale / inv
    root = np.sqrt(var + mean * mean + eps)
    yield "no mean is taken off, neither from the values nor in the deviation (RMS norm)", bool(
        (np.abs(middle) <= tight).all() and (np.abs(scale * root - 1) <= 4e-6).all())
    if right_mean.all():
        factor = float(np.median(ratio))
        yield f"1 / deviation times {factor:.6g} in every channel", bool((np.abs(ratio - factor) <= 4e-6).all())
        seen = 1 / scale**2 - var
        other = float(np.median(seen))
        same = np.abs(seen - other) <= 1e-5 * (var + abs(other))
        yield f"eps {other:.4g} instead of {eps:g}", bool(same.all() and other > -1e-5)
    if right_scale.all():
        yield "the mean is not subtracted", bool((np.abs(middle) <= tight).all())
        yield "the mean with the other sign", bool((np.abs(middle + mean) <= tight).all())
        first = mean[:, :1]
        near = tight + 4e-6 * np.abs(first)
        yield "the mean of the first channel for all", bool((np.abs(middle - first) <= near).all())
        before = np.concatenate([np.zeros_like(first), mean[:, :-1]], 1)
        near = tight + 4e-6 * np.abs(before)
        yield "the mean of the channel before", bool((np.abs(middle - before)[:, 1:] <= near[:, 1:]).all())
        share = float(np.median(middle / np.where(mean == 0, 1, mean)))
        yield f"the mean times {share:.6g}", bool((np.abs(middle - share * mean) <= 2 * tight).all())


def _of_others(x: np.ndarray, middle: np.ndarray, scale: np.ndarray, eps: float) -> Iterator[tuple[str, bool]]:
    """(words, whether they hold) for the statistics of a part of the positions, or of another channel."""
    N, H, W, C = x.shape
    flat = x.reshape(N, H * W, C)

    def fits(mean: np.ndarray, var: np.ndarray, at: slice = slice(None)) -> bool:
        inv = 1 / np.sqrt(var + eps)
        near = np.abs(middle - mean) * inv <= 1e-5 * (1 + np.abs(mean) * inv)
        return bool((near & (np.abs(scale / inv - 1) <= 1e-5))[:, at].all())

    for words, part in _subsets(flat, H, W):
        yield f"statistics of {words}", fits(part.mean(1), part.var(1))
    mean, var = flat.mean(1), flat.var(1)
    for by in range(1, C):
        yield f"statistics of the channel {by} before", fits(np.roll(mean, by, 1), np.roll(var, by, 1), slice(by, None))
        behind = np.roll(mean, -by, 1), np.roll(var, -by, 1)
        yield f"statistics of the channel {by} behind", fits(*behind, slice(None, -by))
    yield "statistics of the first channel for all", fits(mean[:, :1], var[:, :1])
    yield "statistics of the last channel for all", fits(mean[:, -1:], var[:, -1:])
    for size in range(2, C + 1):
        group = np.arange(C) // size * size
        mates = [flat[:, :, k : k + size].reshape(N, -1) for k in group]
        together = np.stack([m.mean(1) for m in mates], 1), np.stack([m.var(1) for m in mates], 1)
        yield f"statistics of groups of {size} channels (group norm)", fits(*together)
    yield "mean of the channel, deviation of all channels together", fits(mean, np.broadcast_to(
        flat.var((1, 2))[:, None], mean.shape))


def _subsets(flat: np.ndarray, H: int, W: int) -> Iterator[tuple[str, np.ndarray]]:
    """(words, positions of (N, P, C)) that a loop with other bounds goes over."""
    P = flat.shape[1]
    for count in range(2, P):
        yield f"the first {count} of {P} positions", flat[:, :count]
        yield f"the last {count} of {P} positions", flat[:, P - count :]
    for step in (2, 3, 4, 8):
        for first in range(step):
            yield f"every {step}th position from number {first} on", flat[:, first::step]
    image = flat.reshape(len(flat), H, W, -1)
    for columns, words in ((slice(1, -1), "all but the edge"), (slice(1, None), "all but the first column"),
                           (slice(None, -1), "all but the last column")):
        part = image[:, 1:-1, columns] if H > 2 and words == "all but the edge" else image[:, :, columns]
        if part[0].size:
            yield words, part.reshape(len(flat), -1, flat.shape[2])
