"""The mistakes that ports make with a batch norm: one parameter of another value, formulas, formats, statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from npunet.verify.diagnose.normal import NAME, WORD, Line, Seen, from_scale
from npunet.verify.diagnose.sums import cut_to_bfloat16, to_bfloat16, to_float16

Named = Iterator[tuple[str, str, Line]]


def mistakes(seen: Seen) -> Named:
    """(hypothesis, words, line) of every one."""
    yield from _usual(seen)
    yield from _stored(seen)
    yield from _of_this_input(seen)


def _usual(seen: Seen) -> Named:
    """Mistakes that ports make with one parameter, then with more."""
    own = seen.own
    for key in ("gamma", "beta", "mean", "var"):
        value = getattr(own, key)
        for words, other in _mistakes(key, value):
            if not np.array_equal(other, value):
                yield NAME[key], f"batch norm: {WORD[key]} {words}", own.having(key, other).line()
        for layer, kin in seen.kin.items():
            yield (NAME[key], f"batch norm: {WORD[key]} of {layer} taken",
                   own.having(key, getattr(kin, key)).line())
    a, b = own.line()
    root, deviation = np.sqrt(own.var + own.eps), np.sqrt(own.var)
    yield "batch_norm_mean", "batch norm: the mean not scaled before it is subtracted", (a, own.beta - own.mean)
    yield "batch_norm_mean", "batch norm: the mean scaled without gamma", (a, own.beta - own.mean / root)
    for name, words, scale in (
        ("eps", "eps added outside the root", own.gamma / (deviation + own.eps)),
        ("variance", "no root of the variance", own.gamma / (own.var + own.eps)),
        ("variance", "multiplied with the deviation instead of divided", own.gamma * root),
    ):
        yield f"batch_norm_{name}", f"batch norm: {words}", from_scale(own, scale)
    exchanged = replace(own, gamma=own.beta, beta=own.gamma)
    yield "batch_norm_swapped", "batch norm: gamma and beta exchanged", exchanged.line()
    yield ("batch_norm_swapped", "batch norm: mean and variance exchanged",
           replace(own, mean=own.var, var=own.mean).line())
    yield ("batch_norm_swapped", "batch norm: mean and variance exchanged (magnitude)",
           replace(own, mean=own.var, var=np.abs(own.mean)).line())
    yield "batch_norm_swapped", "batch norm: beta and mean exchanged", replace(own, beta=own.mean, mean=own.beta).line()
    yield "batch_norm_statistics", "batch norm: mean 0 and variance 1 (statistics never loaded)", replace(
        own, mean=np.zeros_like(a), var=np.ones_like(a)).line()
    yield "batch_norm_affine", "batch norm: neither gamma nor beta", replace(
        own, gamma=np.ones_like(a), beta=np.zeros_like(a)).line()
    for by in (-1, 1):
        yield ("batch_norm_channels", f"batch norm: all parameters moved by one channel ({by:+d})",
               (np.roll(a, by), np.roll(b, by)))
    yield "batch_norm_channels", "batch norm: all parameters in reverse order", (a[::-1], b[::-1])
    yield "batch_norm_channels", "batch norm: the parameters of the first channel for all", (a * 0 + a[0], b * 0 + b[0])
    for layer, kin in seen.kin.items():
        yield "batch_norm_of_another_layer", f"batch norm: the parameters of {layer} taken", kin.line()
    yield "batch_norm_shift", "batch norm: shift left out", (a, b * 0)
    yield "batch_norm_shift", "batch norm: shift subtracted", (a, -b)
    yield "batch_norm_shift", "batch norm: shift added before the scale", (a, b * a)
    yield "batch_norm_shift", "batch norm: beta added before the scale", (a, (own.beta - own.mean) * a)
    yield "batch_norm_shift", "batch norm: beta added before gamma is multiplied", (
        a, own.beta * own.gamma - own.mean * a)
    for words, line in (
        ("scale left out, shift kept", (a * 0 + 1, b)),
        ("scale added instead of multiplied", (a * 0 + 1, a + b)),
        ("the shift in the place of the scale", (b, b)),
        ("the scale in the place of the shift", (a, a)),
        ("scale and shift exchanged", (b, a)),
        ("divided by the scale", (1 / a, b)),
    ):
        yield "batch_norm_scale", f"batch norm: {words}", line
    yield "batch_norm_twice", "batch norm: applied twice", (a * a, a * b + b)


def _stored(seen: Seen) -> Named:
    """Scale and shift kept in a narrow format, both or one of them."""
    a, b = seen.own.line()
    for words, narrow in _narrow():
        for which, line in (("scale and shift", (narrow(a), narrow(b))), ("scale", (narrow(a), b)),
                            ("shift", (a, narrow(b)))):
            if not (np.array_equal(line[0], a) and np.array_equal(line[1], b)):
                yield "batch_norm_narrow", f"batch norm: {which} kept {words}", line


def _narrow() -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """(words, function) of formats."""
    for name, kept in (("float16", to_float16), ("bfloat16", to_bfloat16), ("bfloat16, cut", cut_to_bfloat16)):
        yield f"in {name}", partial(_short, kept=kept)
    for bits in (8, 16):
        yield f"in {bits} bits, one scale for all", partial(_integers, top=(1 << (bits - 1)) - 1)
    for point in range(3, 17):
        for how, rounding in (("", np.rint), (", cut", np.trunc), (", cut downwards", np.floor)):
            yield f"with {point} fractional bits{how}", partial(_pointed, point=point, rounding=rounding)


def _short(values: np.ndarray, kept: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return kept(values.astype(np.float32)).astype(np.float64)


def _pointed(values: np.ndarray, point: int, rounding: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return rounding(values * 2.0**point) / 2.0**point


def _integers(values: np.ndarray, top: int) -> np.ndarray:
    step = max(float(np.abs(values).max()), 1e-30) / top
    return np.rint(values / step) * step


def _of_this_input(seen: Seen) -> Named:
    """Mean and variance of what the norm reads, as while training."""
    own, x = seen.own, seen.x
    n = len(x)
    if n < 2 or not np.isfinite(x).all():
        return
    mean, var = x.mean(0), x.var(0)
    unbiased = var * (n / (n - 1))
    words = "of this very input instead of the moving ones (as while training)"
    yield "batch_norm_statistics", f"batch norm: statistics {words}", replace(own, mean=mean, var=var).line()
    yield ("batch_norm_statistics", f"batch norm: statistics {words}, variance by n - 1",
           replace(own, mean=mean, var=unbiased).line())
    yield "batch_norm_statistics", "batch norm: the mean of this very input", replace(own, mean=mean).line()
    yield "batch_norm_statistics", "batch norm: the variance of this very input", replace(own, var=var).line()


def _mistakes(key: str, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    narrow = value.astype(np.float32)
    yield "left out", np.full_like(value, key in ("gamma", "var"))
    yield "with the other sign", -value
    yield "twice as large", 2 * value
    yield "half as large", value / 2
    for by in (-1, 1):
        yield f"moved by one channel ({by:+d})", np.roll(value, by)
    yield "in reverse order", value[::-1]
    yield "of the first channel for all", np.full_like(value, value[0])
    yield "squared", value * value
    yield "taken as its root", np.sqrt(np.abs(value))
    yield "taken as its reciprocal", 1 / value
    yield "without its sign", np.abs(value)
    if key == "var":
        yield "taken as the deviation", value * value
    for name, rounding in (("float16", to_float16), ("bfloat16", to_bfloat16), ("bfloat16 (cut)", cut_to_bfloat16)):
        yield f"in {name}", rounding(narrow).astype(np.float64)
    for bits in (8, 16):
        most = np.abs(value).max(initial=0) / ((1 << (bits - 1)) - 1) or 1.0
        yield f"quantised to {bits} bits", np.rint(value / most) * most
