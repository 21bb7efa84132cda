"""Hypotheses whose number is read off the port's output: a limit, a slope, a factor, a bias, a weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from npunet.ops.activation import SELU_ALPHA, SELU_SCALE
from npunet.ops.exponential import expm1_32
from npunet.verify.diagnose import biases, rearranged
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.recipe import Recipe

F = np.float32
ROWS = 4000  # positions that an unknown kernel is solved from, at most
SPARE = 4  # positions beyond the unknowns of a filter, so that a wrong solution shows
FEW_WEIGHTS = 0.25  # of all: when more are others, that is no cause but what any cause in a convolution looks like
VISIBLE = 1e-5  # of the largest weight: a smaller difference is the solution's own error
Fitted = Iterator[tuple[str, str, Recipe]]


def of_elements(r: Recipe, right: np.ndarray, got: np.ndarray) -> Fitted:
    """(name, words, recipe) with numbers that the output suggests, for any operator but convolutions."""
    for name, build in (("clamp_fitted", _clamp), ("slope_fitted", _slope), ("gain_fitted", _gain)):
        with np.errstate(all="ignore"):
            for words, function in build(r, right, got):
                yield name, words, r.but(compute=lambda c, function=function: function(*c.inputs).astype(F))


def _clamp(r: Recipe, right: np.ndarray, got: np.ndarray) -> Iterator[tuple[str, Callable]]:
    if r.op not in ("relu", "relu6"):
        return
    x, finite = r.inputs[0], got[np.isfinite(got)]
    if not finite.size:
        return
    high, low, limit = finite.max(), finite.min(), F(6) if r.op == "relu6" else F(np.inf)
    yield f"clamp above at {high:.9g} instead of {limit:g}", lambda x: np.clip(x, F(0), high) + F(0)
    yield f"clamp below at {low:.9g} instead of 0", lambda x: np.clip(x, low, limit) + F(0)
    yield f"clamps at {low:.9g} and {high:.9g} instead of 0 and {limit:g}", lambda x: np.clip(x, low, high) + F(0)
    above = got[x > limit]
    if above.size:
        value = above[0]
        yield f"what is above {limit:g} becomes {value:.9g}", lambda x: np.where(x > limit, value, np.maximum(x, F(0)))


def _slope(r: Recipe, right: np.ndarray, got: np.ndarray) -> Iterator[tuple[str, Callable]]:
    if r.op not in ("relu", "relu6", "leaky_relu", "elu", "selu"):
        return
    x = r.inputs[0]
    bent = expm1_32 if r.op in ("elu", "selu") else np.asarray
    for rising in _likely(got, x, x > 0.01):
        for falling in _likely(got, bent(np.minimum(x, 0)), x < -0.01):
            words = f"{rising:.7g} times what is positive, {falling:.7g} times "
            yield (
                words + ("exp(x) - 1 of the rest" if r.op in ("elu", "selu") else "the rest"),
                lambda x, rising=rising, falling=falling: np.where(x > 0, rising * x, falling * bent(x)),
            )
    if r.op == "selu":
        for alpha in _likely(got, F(SELU_SCALE) * expm1_32(np.minimum(x, 0)), x < -0.01):
            words = f"alpha {alpha:.7g} instead of {SELU_ALPHA:.7g}"
            yield words, lambda x, a=alpha: F(SELU_SCALE) * np.where(x > 0, x, a * expm1_32(x))


def _gain(r: Recipe, right: np.ndarray, got: np.ndarray) -> Iterator[tuple[str, Callable]]:
    for factor in _likely(got, right, np.abs(right) > 0.01):
        yield f"the output times {factor:.7g}", lambda *_, factor=factor: right * factor
    offset = np.median((got - right)[np.isfinite(got - right)]) if np.isfinite(got - right).any() else F(0)
    for value in {F(offset), F(f"{offset:.6g}")} - {F(0)}:
        yield f"{value:.7g} added to the output", lambda *_, value=value: right + value


def _likely(got: np.ndarray, base: np.ndarray, where: np.ndarray) -> list[np.float32]:
    """Factors by which `got` is `base`: the median ratio, and what it is when written with few digits."""
    ratio = (got.astype(np.float64) / base)[where & np.isfinite(got) & np.isfinite(base)]
    ratio = ratio[np.isfinite(ratio)]
    if not ratio.size:
        return [F(1)]
    middle = float(np.median(ratio))
    return list(dict.fromkeys([F(f"{middle:.4g}"), F(f"{middle:.6g}"), F(middle)]))


def of_sums(r: Recipe, right: np.ndarray, got: np.ndarray, weights: Mapping[str, np.ndarray]) -> Fitted:
    """(name, words, recipe) of a convolution with another bias, or other weights, that the output suggests.

    weights : the network's arrays
    """
    rows, wanted = got.reshape(-1, got.shape[-1]), right.reshape(-1, right.shape[-1])
    with np.errstate(all="ignore"):
        if r.bias is not None:
            acc = recipes.run(r.but(bias=None)).reshape(rows.shape)
            size = np.where(np.isfinite(rows) & np.isfinite(acc), np.abs(acc), np.inf)
            at = size.argmin(0), np.arange(rows.shape[1])  # where the bias is nearly alone
            bias = (rows[at].astype(np.float64) - acc[at]).astype(F)
            others = np.flatnonzero(~np.isclose(bias, r.bias, rtol=1e-6, atol=1e-7))
            bias = np.where(np.isin(np.arange(len(bias)), others), bias, r.bias)
            if len(others):
                own, solved = r.bias.astype(np.float64), bias.astype(np.float64)
                words = biases.told(own, solved, 4e-7 * (np.abs(own) + np.abs(rows[at])), weights)
                yield "bias_fitted", f"bias {words or 'another'}", r.but(bias=bias)
        if r.op != "separable_conv2d":
            yield from _weights(r, rows, wanted)


def _weights(r: Recipe, rows: np.ndarray, wanted: np.ndarray) -> Fitted:
    off = rows.astype(np.float64) - wanted
    usable = np.flatnonzero(np.isfinite(off).all(1))
    if not len(usable):
        return
    places = usable[np.linspace(0, len(usable) - 1, min(ROWS, len(usable))).round().astype(int)]
    x, w = recipes.columns(r, places).astype(np.float64), r.kernels[0]
    if r.op == "conv2d":
        flat = x.reshape(len(places), -1)
        if len(places) < flat.shape[1] + SPARE or not np.isfinite(flat).all():
            return
        change = np.linalg.lstsq(flat, off[places], rcond=1e-9)[0]
    else:
        taps = x.reshape(len(places), -1, w.shape[2])  # (P, T, C)
        if len(places) < taps.shape[1] + SPARE or not np.isfinite(taps).all():
            return
        moved = off[places].reshape(len(places), *w.shape[2:])
        change = np.stack([np.linalg.lstsq(taps[..., c], moved[:, c], rcond=1e-9)[0] for c in range(w.shape[2])], 1)
    change = change.reshape(w.shape)
    for name, words, kernel in rearranged.of_weights(w, w + change):
        yield name, words, r.but(kernels=(kernel, *r.kernels[1:]))
    change = np.where(np.abs(change) > VISIBLE * np.abs(w).max(initial=0), change, 0)
    count = int(np.count_nonzero(change))
    limit = np.abs((w + change)[change != 0])
    if count > 1 and np.ptp(limit) <= VISIBLE * limit.max() and limit.max() < np.abs(w).max():
        for most in dict.fromkeys((float(f"{limit.max():.3g}"), float(np.float32(np.median(limit))))):
            told = f"weights limited to +-{most:.6g}"
            yield "weights_limited", told, r.but(kernels=(np.clip(w, -F(most), F(most)), *r.kernels[1:]))
    if 0 < count <= FEW_WEIGHTS * w.size:
        other = (w + change).astype(F)
        at = np.unravel_index(np.abs(change).argmax(), w.shape)
        listed = ", ".join(map(str, at))
        words = f"{count} of {w.size} weights are others, most of all [{listed}]: {other[at]:.6g}, not {w[at]:.6g}"
        yield "weights_fitted", words, r.but(kernels=(other, *r.kernels[1:]))
