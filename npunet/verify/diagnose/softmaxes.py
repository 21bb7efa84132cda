"""Patterns of softmax: the shares are right and their sum is not, or they are of another function of the scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

LEAST = 1e-6  # of shares that a logarithm is taken of
LITTLE = 1e-4  # by which a factor or a shift may miss 1 or 0
WIDE = 2e-5  # of a share: rounding of what is solved
ROOM = 4e-6  # of a share: another exponential, another order
Function = Callable[[np.ndarray], np.ndarray]
SCORES: dict[str, Function] = {
    "their squares": np.square,
    "their magnitudes": np.abs,
    "what of them is positive": lambda x: np.maximum(x, 0),
    "the scores as they are": lambda x: x,
    "their sigmoids": lambda x: 1 / (1 + np.exp(-x)),
    "1 + x + x^2 / 2": lambda x: 1 + x + x * x / 2,
    "1 / (1 + x^2)": lambda x: 1 / (1 + x * x),
    "exp(-x)": lambda x: np.exp(-x),
    "exp(|x|)": lambda x: np.exp(np.abs(x)),
    "exp(x^2)": lambda x: np.exp(x * x),
    "their softplus, log(1 + exp(x))": lambda x: np.logaddexp(0, x),
    "exp(x) - 1": np.expm1,
    "exp(x) + 1": lambda x: np.exp(x) + 1,
    "exp(tanh(x))": lambda x: np.exp(np.tanh(x)),
    "exp(relu(x))": lambda x: np.exp(np.maximum(x, 0)),
    "exp(relu6(x))": lambda x: np.exp(np.clip(x, 0, 6)),
}


@pattern("softmax", rank=2)
def softmax_sums(s: Sight) -> Guesses:
    """Exponentials that are divided by another sum."""
    x = s.inputs[0].astype(np.float64)
    e = np.exp(x - x.max(3, keepdims=True))
    total = e.sum(3, keepdims=True)
    N, H, W, C = x.shape
    sums = total.reshape(N, H * W)
    got = s.got.astype(np.float64).reshape(N, H * W, C)
    left = float((e.reshape(N, H * W, C)[0, 0] / np.where(got[0, 0] > 0, got[0, 0], np.inf)).max() - sums[0, 0])
    later = np.concatenate([sums[:, :1], sums[:, :-1]], 1)
    for words, other in (
        ("the sum is not cleared from position to position", np.cumsum(sums, 1)),
        ("the sum is not cleared at all", np.cumsum(sums.ravel()).reshape(sums.shape)),
        (f"the sum is not cleared, and starts from {left:.6g}", left + np.cumsum(sums.ravel()).reshape(sums.shape)),
        ("divided by the sum of the position before", later),
        ("divided by the sum of the first position", np.broadcast_to(sums[:, :1], sums.shape)),
        ("divided by the sum of all positions", np.broadcast_to(sums.sum(1, keepdims=True), sums.shape)),
        ("divided by the number of classes", np.full(sums.shape, float(C))),
        ("divided by the root of the sum", np.sqrt(sums)),
        ("divided by the root of the sum of squares", np.sqrt((e * e).sum(3)).reshape(sums.shape)),
        ("divided by the square of the sum", sums * sums),
    ):
        y = e / other.reshape(total.shape)
        yield Guess(f"softmax: {words}", y, ROOM * np.abs(y) + 1e-12)
    left_to_right = np.cumsum(e, 3)
    yield Guess("softmax: divided while it is summed, by the sum up to the class", e / left_to_right, ROOM * e + 1e-12)
    spoilt = e.copy()
    spoilt[..., 1:] = e[..., 1:] / total
    yield Guess("softmax: the first class is not divided", spoilt, ROOM * spoilt + 1e-12)
    spoilt = e / total
    spoilt[..., -1:] = e[..., -1:]
    yield Guess("softmax: the last class is not divided", spoilt, ROOM * spoilt + 1e-12)


@pattern("softmax", rank=2)
def softmax_of(s: Sight) -> Guesses:
    """Shares of another function of the scores, or of some classes alone."""
    x = s.inputs[0].astype(np.float64)
    for words, function in SCORES.items():
        for less, argument in (("", x), (" less the largest", x - x.max(3, keepdims=True))):
            values = function(argument)
            y = values / values.sum(3, keepdims=True)
            yield Guess(f"softmax of {words} instead of exponentials, the scores{less} being x", y,
                        ROOM * np.abs(y) + 1e-12)
    e = np.exp(x - x.max(3, keepdims=True))
    C = x.shape[3]
    for c in range(C):
        kept = np.where(np.arange(C) == c, 0, e)
        y = kept / np.maximum(kept.sum(3, keepdims=True), 1e-300)
        yield Guess(f"softmax: class {c} is taken for minus infinity", y, ROOM * y + 1e-12)
        yield Guess(f"softmax: class {c} is zero, the others are divided by the whole sum",
                    kept / e.sum(3, keepdims=True), ROOM * e + 1e-12)
    for by in range(1, C):
        y = np.roll(e / e.sum(3, keepdims=True), by, 3)
        yield Guess(f"softmax: classes moved by {by}", y, ROOM * y + 1e-12)


@pattern("softmax", rank=2)
def softmax_scores(s: Sight) -> Guesses:
    """Scores that are multiplied and shifted class by class: the logarithms of the shares' ratios show the line."""
    x, got = s.inputs[0].astype(np.float64), s.got.astype(np.float64)
    C = x.shape[3]
    rows, shares = x.reshape(-1, C), got.reshape(-1, C)
    good = np.isfinite(rows).all(1) & (shares > LEAST).all(1)
    if np.count_nonzero(good) < 4 * C or C < 2:
        return
    rows, logs = rows[good], np.log(shares[good])
    terms, wanted = [], []
    for c in range(1, C):
        columns = np.zeros((len(rows), 2 * C - 1))
        columns[:, c], columns[:, 0], columns[:, C + c - 1] = rows[:, c], -rows[:, 0], 1
        terms.append(columns)
        wanted.append(logs[:, c] - logs[:, 0])
    solved = np.linalg.lstsq(np.concatenate(terms), np.concatenate(wanted), rcond=1e-9)[0]
    for digits in (3, 6):
        factors = np.array([float(f"{value:.{digits}g}") for value in solved[:C]])
        shifts = np.concatenate([[0.0], [float(f"{v:.{digits}g}") if abs(v) > LITTLE else 0.0 for v in solved[C:]]])
        e = np.exp(x * factors + shifts - (x * factors + shifts).max(3, keepdims=True))
        y = e / e.sum(3, keepdims=True)
        told = [f"class {c} times {factors[c]:g}" for c in range(C) if abs(factors[c] - 1) > LITTLE]
        told += [f"class {c} with {shifts[c]:g} added" for c in range(C) if shifts[c]]
        yield Guess(f"softmax of other scores: {', '.join(told)}", y, WIDE * y + 1e-9)
    good = (s.right > LEAST) & (s.got > LEAST)
    if np.count_nonzero(good) > 4:
        slope, shift = np.polyfit(np.log(s.right[good].astype(np.float64)), np.log(got[good]), 1)
        power, factor = float(f"{slope:.4g}"), float(f"{np.exp(shift):.4g}")
        y = factor * s.right.astype(np.float64) ** power
        times = "" if factor == 1 else f"{factor:g} times "
        yield Guess(f"softmax: {times}the shares to the power of {power:g}", y, WIDE * y + 1e-9)
