"""Patterns of poolings: which elements took part is solved from the output, and how they were joined."""

from __future__ import annotations

from itertools import product

import numpy as np

from npunet.verify.compare import same
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

F = np.float32
AROUND = 2  # rows and columns beside the window that are looked at
SPREAD = 2  # times the window's extent that is looked at: a dilated window
SUMS_UP = 4e-6  # of what is summed: rounding of a mean or a root
WHOLE = 0.5  # share of windows that lie inside, from which on sorted elements are weighted
SHORT = 1e-4  # by which a solved factor may miss a number with few digits
Offset = tuple[int, int]


@pattern("max_pool2d")
def pool_elements(s: Sight) -> Guesses:
    """The largest of other elements: all that never exceed the output, as far as they are needed."""
    r = s.recipe
    taps = {offset: tap for offset, tap in _taps(s) if (~(tap > s.got)).all()}
    if not taps:
        return
    best = np.maximum.reduce(list(taps.values()))
    if not same(best, s.got).all():
        return
    needed = dict(taps)
    for offset in sorted(taps, key=lambda at: -max(abs(at[0]), abs(at[1]))):  # the farthest first: what adds nothing
        rest = [tap for other, tap in needed.items() if other != offset]
        if rest and (np.maximum.reduce(rest) == np.maximum.reduce(list(needed.values()))).all():
            del needed[offset]
    KH, KW = r.attrs["window"]
    if set(needed) == set(product(range(KH), range(KW))):
        return
    y = np.maximum.reduce(list(needed.values()))
    listed = ", ".join(f"[{ky}, {kx}]" for ky, kx in sorted(needed)[:9])
    more = ", ..." if len(needed) > 9 else ""
    yield Guess(f"the largest of other elements than the window's {KH} x {KW}: {listed}{more} from its first on",
                y)


def _taps(s: Sight) -> list[tuple[Offset, np.ndarray]]:
    """What stands at each offset from a window's first element, minus infinity outside of the image."""
    r, x = s.recipe, s.inputs[0]
    (KH, KW), (sy, sx), ((top, _), (left, _)) = (r.attrs[key] for key in ("window", "stride", "pads"))
    _, H, W, _ = x.shape
    OH, OW, _ = r.shape
    found = []
    rows = range(-AROUND, SPREAD * KH + AROUND) if H > 1 else (0,)
    for ky, kx in product(rows, range(-AROUND, SPREAD * KW + AROUND)):
        i, j = np.arange(OH) * sy + ky - top, np.arange(OW) * sx + kx - left
        inside = ((i >= 0) & (i < H))[:, None] & ((j >= 0) & (j < W))[None]
        tap = x[:, np.clip(i, 0, H - 1)][:, :, np.clip(j, 0, W - 1)]
        found.append(((ky, kx), np.where(inside[None, :, :, None], tap, F(-np.inf))))
    return found


@pattern("max_pool2d")
def pool_channels(s: Sight) -> Guesses:
    """Windows that go over the channels too, or instead of rows or columns."""
    (KH, KW), C = s.recipe.attrs["window"], s.inputs[0].shape[3]
    for words, rows, columns, extent in (
        ("and over its neighbours among the channels", KH, KW, 2), ("over rows and channels", KH, 1, KW),
        ("over columns and channels", 1, KW, KH), ("over channels alone", 1, 1, KH * KW),
    ):
        if extent < 2 or C < 2:
            continue
        own = [tap for (ky, kx), tap in _taps(s) if 0 <= ky < rows and 0 <= kx < columns]
        y = np.maximum.reduce(own)
        ahead = np.arange(C)[:, None] + np.arange(extent)  # (C, extent)
        for beyond, at in (("around the end", ahead % C), ("the last one repeated", np.minimum(ahead, C - 1))):
            yield Guess(f"the largest {words} of {extent} ({beyond})", y[..., at].max(4))
        start = np.arange(C)[:, None] // extent * extent + np.arange(extent)
        yield Guess(f"the largest {words}, in groups of {extent}", y[..., np.minimum(start, C - 1)].max(4))
    if C > 1:
        y = np.maximum.reduce([tap for (ky, kx), tap in _taps(s) if 0 <= ky < KH and 0 <= kx < KW])
        yield Guess("the largest of all channels", np.broadcast_to(y.max(3, keepdims=True), y.shape))


@pattern("max_pool2d", rank=2)
def pool_formula(s: Sight) -> Guesses:
    """The elements of the declared window joined otherwise: means of powers, and mixtures with the largest."""
    KH, KW = s.recipe.attrs["window"]
    taps = np.stack([tap for (ky, kx), tap in _taps(s) if 0 <= ky < KH and 0 <= kx < KW]).astype(np.float64)
    inside = np.isfinite(taps)
    if not inside.any(0).all():
        return
    zeros, count = np.where(inside, taps, 0), inside.sum(0)
    squares, magnitudes = (zeros * zeros).sum(0), np.abs(zeros).sum(0)
    largest, smallest = taps.max(0), np.where(inside, taps, np.inf).min(0)
    first = taps[0]
    for words, y in (
        ("the root of the mean square", np.sqrt(squares / count)), ("the root of the sum of squares", np.sqrt(squares)),
        ("the mean square", squares / count), ("the mean magnitude", magnitudes / count),
        ("the sum of magnitudes", magnitudes), ("the largest magnitude, without its sign", np.abs(zeros).max(0)),
        ("the smallest magnitude, without its sign", np.where(inside, np.abs(taps), np.inf).min(0)),
        ("the logarithm of the sum of exponentials", np.log(np.where(inside, np.exp(taps), 0).sum(0))),
        ("the mean weighted by a softmax", _weighted(taps, inside)),
        ("the middle between smallest and largest", (largest + smallest) / 2),
        ("largest less smallest", largest - smallest),
    ):
        yield Guess(f"{words} of the window instead of the largest", y,
                    SUMS_UP * (np.abs(y) + magnitudes / count), name="pool_average")
    parts = {"the largest": largest, "the mean": zeros.sum(0) / count, "the smallest": smallest,
             "the mean of the whole window": zeros.sum(0) / len(taps), "the first element": first}
    if np.isfinite(first).all() and np.isfinite(s.got).all():
        columns = np.stack([part.ravel() for part in parts.values()], 1)
        factors = np.linalg.lstsq(columns, s.got.astype(np.float64).ravel(), rcond=1e-6)[0]
        rounded = np.array([float(f"{value:.3g}") if abs(value) > SHORT else 0.0 for value in factors])
        for chosen in (rounded, factors):
            y = (columns @ chosen).reshape(s.got.shape)
            told = " + ".join(f"{value:.4g} times {name}" for name, value in zip(parts, chosen, strict=True) if value)
            yield Guess(f"{told} instead of the largest", y,
                        SUMS_UP * (np.abs(y) + magnitudes / count), name="pool_average")
    yield from _weights(s, zeros)
    yield from _sorted_weights(s, taps, inside)


def _sorted_weights(s: Sight, taps: np.ndarray, inside: np.ndarray) -> Guesses:
    """A weighted sum of the window's elements from the largest to the smallest, where none lies outside."""
    whole = inside.all(0) & np.isfinite(s.got)
    ranked = -np.sort(-taps, 0)[:, whole].T
    y = s.got[whole].astype(np.float64)
    if whole.mean() < WHOLE or len(y) < 4 * len(taps):
        return
    factors, _, rank, _ = np.linalg.lstsq(ranked, y, rcond=1e-9)
    factors = np.array([float(f"{value:.4g}") if abs(value) > SHORT else 0.0 for value in factors])
    if rank < len(taps):
        return
    made, near = s.got.astype(np.float64).copy(), np.zeros(s.got.shape)
    made[whole], near[whole] = ranked @ factors, SUMS_UP * (np.abs(ranked) @ np.abs(factors))
    listed = ", ".join(f"{value:g}" for value in factors[:6]) + (", ..." if len(factors) > 6 else "")
    yield Guess(f"the window's elements from the largest on times {listed} instead of the largest", made, near,
                name="pool_average")


def _weighted(taps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    e = np.where(inside, np.exp(taps - taps.max(0)), 0)
    return np.asarray((e * np.where(inside, taps, 0)).sum(0) / e.sum(0))


def _weights(s: Sight, taps: np.ndarray) -> Guesses:
    """A weighted sum of the window's elements, the same weights everywhere."""
    columns, y = taps.reshape(len(taps), -1).T, s.got.astype(np.float64).ravel()
    if not np.isfinite(y).all() or len(y) < 4 * len(taps):
        return
    factors = np.linalg.lstsq(columns, y, rcond=1e-9)[0]
    made = columns @ factors
    near = SUMS_UP * (np.abs(columns) @ np.abs(factors))
    listed = ", ".join(f"{value:.4g}" for value in factors[:9]) + (", ..." if len(factors) > 9 else "")
    yield Guess(f"a weighted sum of the window ({listed}) instead of the largest", made.reshape(s.got.shape),
                near.reshape(s.got.shape), name="pool_average")
