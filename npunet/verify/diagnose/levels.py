"""Patterns of levels: one number added to or multiplied with the output, thresholds, outputs that hold nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from npunet.ops.exponential import expm1_32
from npunet.ops.table import CONVOLUTIONS
from npunet.verify.compare import same
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

F = np.float32
Branch = Callable[[np.ndarray], np.ndarray]
FEW_ULP = 4 * 2.0**-24
START = 2.0**-20  # of the largest output: what starting from another number changes in the rounding of sums


@pattern(rank=0)
def nothing_summed(s: Sight) -> Guesses:
    """Nothing but zeros, NaN, or a convolution's bias: no hypothesis says more."""
    if s.right.size < 2:
        return
    if not s.got.any():
        yield Guess("all zero: nothing is written, or zeros only", s.got, of_sums=True, name="output_unwritten")
    elif np.isnan(s.got).all():
        yield Guess("all NaN: nothing is computed, or of NaN only", s.got, of_sums=True, name="output_unwritten")
    elif (s.got == s.got.flat[0]).all():
        yield Guess(f"one value everywhere: {s.got.flat[0]:.9g}", s.got, of_sums=True)
    elif s.recipe.op in CONVOLUTIONS and s.recipe.bias is not None:
        alone = np.broadcast_to(s.recipe.bias, s.right.shape)
        if same(alone + F(0), s.got + F(0)).all():
            words = "the output is the bias alone: all weights are zero (not loaded), or nothing is summed"
            yield Guess(words, s.got, of_sums=True)


@pattern()
def output_offset(s: Sight) -> Guesses:
    """One number added to every element."""
    off = s.got.astype(np.float64) - s.right
    if s.recipe.op not in CONVOLUTIONS or not np.isfinite(off).any():
        return
    middle = float(np.median(off[np.isfinite(off)]))
    wide = FEW_ULP * (np.abs(s.right) + np.abs(s.got) + abs(middle))
    for value in dict.fromkeys((float(f"{middle:.3g}"), float(f"{middle:.6g}"))):
        if value:
            yield Guess(f"{value:.6g} is added to every output: after it, or where a sum starts",
                        s.right.astype(np.float64) + value, wide + START * np.abs(s.right).max(initial=0), of_sums=True)


@pattern(*CONVOLUTIONS)
def output_gain(s: Sight) -> Guesses:
    """Every sum, or the output, multiplied by one number."""
    bias = F(0) if s.recipe.bias is None else s.recipe.bias
    for words, shift in (("the output", F(0)), ("every sum", bias)):
        if words == "every sum" and s.recipe.bias is None:
            continue
        base, seen = s.right.astype(np.float64) - shift, s.got.astype(np.float64) - shift
        usable = np.isfinite(base) & np.isfinite(seen)
        power = (base[usable] ** 2).sum()
        if not power:
            continue
        factor = float((base[usable] * seen[usable]).sum() / power)
        for value in dict.fromkeys((float(f"{factor:.3g}"), float(f"{factor:.6g}"), factor)):
            wide = 2.0**-21 * (np.abs(base * value) + np.abs(shift)) + 2.0**-22 * np.abs(base).max(initial=0)
            yield Guess(f"{words} times {value:.6g}", base * value + shift, wide, of_sums=True)


@pattern()
def output_limited(s: Sight) -> Guesses:
    """What lies beyond a limit becomes the limit; the limits of relu and relu6 are read off in fitted."""
    if s.recipe.op in ("relu", "relu6"):
        return
    values = s.got[s.differs]
    if len(np.unique(values)) == 1 and np.isfinite(values[0]):
        limit, beyond = values[0], s.right[s.differs]
        if (beyond < limit).all():
            yield Guess(f"the output limited below at {limit:.7g}", np.maximum(s.right, limit))
        elif (beyond > limit).all():
            yield Guess(f"the output limited above at {limit:.7g}", np.minimum(s.right, limit))
    elif len(np.unique(values)) == 2 and np.isfinite(values).all():
        low, high = values.min(), values.max()
        yield Guess(f"the output limited to {low:.7g} ... {high:.7g}", np.clip(s.right, low, high))


BRANCHES: dict[str, tuple[Branch, Branch]] = {
    "relu": (lambda x: x, lambda x: x * 0),
    "relu6": (lambda x: np.minimum(x, F(6)), lambda x: x * 0),
    "leaky_relu": (lambda x: x, lambda x: F(LEAKY_SLOPE) * x),
    "elu": (lambda x: x, expm1_32),
    "selu": (lambda x: F(SELU_SCALE) * x, lambda x: F(SELU_SCALE * SELU_ALPHA) * expm1_32(x)),
}


@pattern(*BRANCHES)
def activation_threshold(s: Sight) -> Guesses:
    """Another threshold between the two branches, or another limit from which on it is 6."""
    above, below = BRANCHES[s.recipe.op]
    x = s.inputs[0]
    wrong = x[s.differs]
    if not np.isfinite(wrong).all():
        return
    for at, words in ((wrong.max(), "at or above"), (np.nextafter(wrong.min(), F(-np.inf)), "at or below")):
        y = np.where(x > at, above(x), below(x)) + F(0)
        told = f"the branches meet {words} {_short(at, x):.6g} instead of at 0"
        if not (x > at).any():
            told = "the branch of what is negative is taken for all"
        elif (x > at).all():
            told = "the branch of what is positive is taken for all"
        yield Guess(told, y)
    if s.recipe.op == "relu6":
        y = np.where(x >= wrong.min(), F(6), s.right)
        yield Guess(f"what is at or above {wrong.min():.6g} becomes 6", y)


def _short(at: np.ndarray, x: np.ndarray) -> float:
    """The shortest number that splits x where `at` does."""
    above = x[x > at].min(initial=np.inf)
    for digits in range(1, 7):
        for value in (float(f"{float(at):.{digits}g}"), float(f"{min(float(above), 1e30):.{digits}g}")):
            if at <= value < above:
                return value
    return float(at)
