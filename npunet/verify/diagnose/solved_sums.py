"""Patterns of sums that are solved: what a convolution adds up is linear, so factors and places can be read off it.

The unknowns are few beside the sums that are seen, so that a wrong solution shows: one factor for every input channel,
tap, row or column of the kernel; for every tap, or input channel, which place or channel it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from itertools import product

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.recipe import Recipe

SAMPLE = 512  # positions
MOST = 400  # unknowns
SPARE = 3  # sums seen for every unknown, at least
REACH = 2  # rows and columns beside its own that a tap may read
CLOSE = 2e-3  # by which a factor may miss a whole number
DIGITS = (2, 4, 8)
SHOWN = 5


def solving(build: Callable[[Sight], Guesses]) -> Callable[[Sight], Guesses]:
    """A solution for convolutions as one for separable layers too: their 1x1 half, and both as one convolution."""

    @wraps(build)
    def of_all(s: Sight) -> Guesses:
        if s.recipe.op != "separable_conv2d":
            yield from build(s)
            return
        r, (depthwise, pointwise) = s.recipe, s.recipe.kernels
        C, M = depthwise.shape[2:]
        spread = pointwise.reshape(C, M, -1)
        whole = np.einsum("klcm,cmf->klcf", depthwise, spread).astype(np.float32)
        for guess in build(replace(s, recipe=r.but(op="conv2d", kernels=(whole,)))):
            yield replace(guess, words=f"depthwise and 1x1 half taken as one convolution: {guess.words}")

    return of_all


def seen_sums(s: Sight) -> np.ndarray | None:
    """What the port had summed before the bias, (P, F) float64, as well as it is known; None where it is not finite."""
    acc = s.evidence.acc
    sums = acc.astype(np.float64) if acc is not None else (
        s.got.astype(np.float64) - (0.0 if s.recipe.bias is None else s.recipe.bias))
    sums = sums.reshape(-1, s.right.shape[3])
    return sums if np.isfinite(sums).all() and np.isfinite(s.inputs[0]).all() else None


def sampled(s: Sight) -> np.ndarray:
    """Positions that differ, and as many that do not."""
    wrong = s.differs.any(3).ravel()
    return np.concatenate([_spread(np.flatnonzero(wrong)), _spread(np.flatnonzero(~wrong))])


def pooled(s: Sight, most: int) -> tuple[np.ndarray, np.ndarray]:
    """What taps read, (P, KH, KW, C), and the sums, (P, F), of this case and of others that the port shows, float64."""
    sums = seen_sums(s)
    read, summed = [], []
    if sums is not None:
        places = _spread(np.arange(recipes.positions(s.recipe)), most)
        read.append(recipes.columns(s.recipe, places).astype(np.float64))
        summed.append(sums[places])
    bias = 0.0 if s.recipe.bias is None else s.recipe.bias.astype(np.float64)
    source = s.node.inputs[0]
    for key, got in s.evidence.cases.items():
        layer, _, case = key.rpartition(" of ")
        x = s.evidence.cases.get(f"{source} of {case}")
        if source == s.bundle.graph.input and f"{case}/in" in s.bundle.tensors:
            x = s.bundle.tensor(case, "in")
        if layer != s.node.name or x is None or not (np.isfinite(x).all() and np.isfinite(got).all()):
            continue
        other = s.recipe.but(inputs=(x,))
        places = _spread(np.arange(recipes.positions(other)), most)
        read.append(recipes.columns(other, places).astype(np.float64))
        summed.append(got.reshape(-1, got.shape[3])[places].astype(np.float64) - bias)
    if not read:  # NaN and infinities everywhere
        return np.zeros((0, *s.recipe.kernels[0].shape[:3])), np.zeros((0, s.right.shape[3]))
    return np.concatenate(read), np.concatenate(summed)


def _spread(places: np.ndarray, most: int = SAMPLE) -> np.ndarray:
    if not len(places):
        return places
    return np.asarray(places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)])


@pattern(*CONVOLUTIONS, rank=2)
@solving
def sums_weighted(s: Sight) -> Guesses:
    """The products of an input channel, a tap, a row or a column of the kernel times a factor, the same everywhere."""
    r, sums = s.recipe, seen_sums(s)
    if sums is None:
        return
    places = sampled(s)
    w, x = r.kernels[0], recipes.columns(r, places).astype(np.float64)
    KH, KW, C = w.shape[:3]
    for name, count, part in (
        ("input channel", C if r.op == "conv2d" else 1, lambda k: (slice(None), slice(None), k)),
        ("tap", KH * KW, lambda k: divmod(k, KW)),
        ("row of the kernel", KH if KW > 1 else 1, lambda k: (k,)),
        ("column of the kernel", KW if KH > 1 else 1, lambda k: (slice(None), k)),
    ):
        if not 1 < count <= MOST or SPARE * count > sums[places].size:
            continue
        masks = []
        for k in range(count):
            mask = np.zeros(w.shape[:3], bool)
            mask[part(k)] = True
            masks.append(mask)
        terms = np.stack([products(r, x * mask, w).ravel() for mask in masks], 1)
        factors = _solved(terms, sums[places].ravel())
        if factors is None or np.abs(factors - 1).max() <= CLOSE / 10:
            continue
        for digits in DIGITS:
            chosen = np.array([float(f"{value:.{digits}g}") if abs(value) > CLOSE / 10 else 0.0 for value in factors])
            scale = sum(mask * value for mask, value in zip(masks, chosen, strict=True))
            kernel = (w * np.asarray(scale)[..., None]).astype(np.float32)
            off = [k for k in range(count) if abs(chosen[k] - 1) > CLOSE / 10]
            named = [list(divmod(k, KW)) if name == "tap" else k for k in off[:SHOWN]]
            listed = ", ".join(f"{label} times {chosen[k]:g}" for label, k in zip(named, off, strict=False))
            more = ", ..." if len(off) > SHOWN else ""
            yield Guess(f"{name}{'s' if len(off) > 1 else ''} {listed}{more}; the others are right",
                        recipe=r.but(kernels=(kernel, *r.kernels[1:])), fixed=True)


def products(r: Recipe, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(P, KH, KW, C) and the kernel: the sums, (P, F)."""
    if r.op == "conv2d":
        return np.asarray(x.reshape(len(x), w[..., 0].size) @ w.reshape(-1, w.shape[3]).astype(np.float64))
    return np.einsum("pklc,klcm->pcm", x, w.astype(np.float64)).reshape(len(x), w.shape[2] * w.shape[3])


def _solved(terms: np.ndarray, sums: np.ndarray) -> np.ndarray | None:
    """Factors of the terms that give the sums; None where none do."""
    factors, _, rank, _ = np.linalg.lstsq(terms, sums, rcond=1e-9)
    off = np.abs(terms @ factors - sums).max(initial=0)
    return factors if rank == terms.shape[1] and off <= 1e-4 * np.abs(sums).max(initial=0) else None


@pattern(*CONVOLUTIONS, rank=2)
@solving
def taps_elsewhere(s: Sight) -> Guesses:
    """Every tap of the kernel reads one place, if another than it should."""
    r, sums = s.recipe, seen_sums(s)
    if sums is None:
        return
    places, w = sampled(s), r.kernels[0]
    KH, KW = w.shape[:2]
    (dy, dx), ((top, _), (left, _)) = r.attrs["dilation"], r.attrs["pads"]
    rows = range(-dy * REACH, (KH - 1) * dy + dy * REACH + 1) if r.inputs[0].shape[1] > 1 else (0,)
    columns = range(-dx * REACH, (KW - 1) * dx + dx * REACH + 1)
    spots = list(product(rows, columns))
    if len(spots) * KH * KW > 4 * MOST or SPARE * len(spots) * KH * KW > sums[places].size:
        return
    one = r.having(dilation=(1, 1))
    read = [recipes.columns(one.but(kernels=(w[:1, :1],)).having(pads=((top - y, 0), (left - x, 0))), places)
            .astype(np.float64) for y, x in spots]  # (P, 1, 1, C) each
    taps = list(product(range(KH), range(KW)))
    terms = np.stack([products(r, value, w[y : y + 1, x : x + 1]).ravel() for y, x in taps for value in read], 1)
    found = np.linalg.lstsq(terms, sums[places].ravel(), rcond=1e-9)[0]
    chosen = np.rint(found)
    if np.abs(found - chosen).max() > CLOSE or not set(chosen.tolist()) <= {0.0, 1.0, 2.0}:
        return
    per_tap = chosen.reshape(len(taps), len(spots))
    kernel = np.zeros((len(rows), len(columns), *w.shape[2:]), np.float32)
    said = []
    for (y, x), counts in zip(taps, per_tap, strict=True):
        at = [spots[k] for k in np.flatnonzero(counts)]
        if at != [(y * dy, x * dx)] or counts.max() > 1:
            read_at = " and ".join(_where(spot, (y * dy, x * dx)) for spot in at)
            said.append(f"[{y}, {x}] reads {read_at or 'nothing'}")
        for spot, count in zip(spots, counts, strict=True):
            kernel[spot[0] - rows[0], spot[1] - columns[0]] += np.float32(count) * w[y, x]
    if said:
        wide = one.but(kernels=(kernel,)).having(pads=((top - rows[0], 0), (left - columns[0], 0)))
        yield Guess(f"taps of the kernel read elsewhere: {', '.join(said[:SHOWN])}{', ...' if said[SHOWN:] else ''}",
                    recipe=wide, fixed=True)


def _where(spot: tuple[int, int], own: tuple[int, int]) -> str:
    off = spot[0] - own[0], spot[1] - own[1]
    return "its own place" if off == (0, 0) else f"{off[0]:+d} rows, {off[1]:+d} columns from its own place"


@pattern("conv2d", "separable_conv2d", rank=2)
@solving
def channels_read(s: Sight) -> Guesses:
    """The weights of every input channel meet one channel of the input, if another than they should."""
    r, sums = s.recipe, seen_sums(s)
    C = r.inputs[0].shape[3]
    if sums is None or not 1 < C * C <= MOST:
        return
    places, w = sampled(s), r.kernels[0]
    if sums[places].size < SPARE * C * C:
        return
    x = recipes.columns(r, places).astype(np.float64)
    terms = np.einsum("pkld,klcf->cdpf", x, w.astype(np.float64)).reshape(C * C, -1).T
    found = np.linalg.lstsq(terms, sums[places].ravel(), rcond=1e-9)[0].reshape(C, C)
    chosen = np.rint(found)
    if np.abs(found - chosen).max() > CLOSE or not (chosen.sum(1) == 1).all() or not set(chosen.flat) <= {0.0, 1.0}:
        return
    order = chosen.argmax(1)
    if (order != np.arange(C)).any():
        listed = ", ".join(f"{order[c]} for {c}" for c in np.flatnonzero(order != np.arange(C))[:SHOWN])
        kernel = np.zeros_like(w)
        for c, k in enumerate(order):
            kernel[:, :, k] += w[:, :, c]
        yield Guess(f"other channels of the input are read: {listed}", recipe=r.but(kernels=(kernel,)), fixed=True)
