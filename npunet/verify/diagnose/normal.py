"""Which parameter of a batch norm is wrong: the line of every channel is read off the output and solved.

At inference a batch norm is one line a channel, y = a x + b with a = gamma / sqrt(var + eps), b = beta - mean a.
Beta and mean leave a alone; gamma, variance and eps change a and with it b, and eps by one number for all channels.
What no line tells apart (beta from mean, gamma from variance) is told apart by its value where that is one that a port
takes by mistake, else both are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npunet.verify.diagnose.sums import cut_to_bfloat16, to_bfloat16, to_float16

SLACK = 12 * 2.0**-24  # roundings of a line's value, generous: another formula, parts in another order
WORD = {"gamma": "gamma", "beta": "beta", "mean": "the mean", "var": "the variance"}
NAME = {key: f"batch_norm_{'variance' if key == 'var' else key}" for key in WORD}
EPS = (0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 2e-5, 1e-4, 1e-3, 1e-2, 0.1)
Line = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Norm:
    """The parameters of a batch norm, (C,) float64 each."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    eps: float

    def having(self, key: str, value: np.ndarray) -> Norm:
        """With another gamma, beta, mean or var."""
        changed: dict[str, Any] = {key: value}
        return replace(self, **changed)

    def line(self) -> Line:
        """Scale and shift."""
        scale = self.gamma / np.sqrt(self.var + self.eps)
        return scale, self.beta - self.mean * scale


def norm_of(parameters: Sequence[np.ndarray], eps: float) -> Norm:
    """From gamma, beta, mean and variance of any float dtype."""
    gamma, beta, mean, var = (value.astype(np.float64) for value in parameters)
    return Norm(gamma, beta, mean, var, eps)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a batch norm read and gave.

    x, got : (P, C) float64
    blur   : how far x may be from what the port had, (P, C) or 0
    own    : the parameters as declared
    kin    : the parameters of other batch norms as wide, by name
    """

    x: np.ndarray
    got: np.ndarray
    blur: np.ndarray | float
    own: Norm
    kin: Mapping[str, Norm]

    def allowance(self, line: Line) -> np.ndarray:
        """How far the port's numbers may be from those of a line."""
        a, b = line
        return SLACK * (np.abs(self.x * a) + np.abs(self.own.mean * a) + np.abs(b)) + self.blur * np.abs(a)

    def fits(self, line: Line) -> np.ndarray:
        """Channels whose every number a line gives, (C,) bool."""
        off = np.abs(self.x * line[0] + line[1] - self.got)
        blind = ~(np.isfinite(self.x) & np.isfinite(self.got))
        return (blind | (off <= self.allowance(line))).all(0) & ~blind.all(0)


def solve(seen: Seen) -> Iterator[tuple[str, str, Line]]:
    """(hypothesis, words, line) of parameters that give what the port gave, the likeliest first."""
    done = False
    for name, words, line in (*_eps(seen), *_usual(seen)):
        if seen.fits(line).all():
            done = True
            yield name, words, line
    if not done and not seen.fits(seen.own.line()).all():
        yield from _solved(seen)


def _usual(seen: Seen) -> Iterator[tuple[str, str, Line]]:
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
        yield f"batch_norm_{name}", f"batch norm: {words}", _from_scale(own, scale)
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


def _from_scale(own: Norm, scale: np.ndarray) -> Line:
    return scale, own.beta - own.mean * scale


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


def _eps(seen: Seen) -> Iterator[tuple[str, str, Line]]:
    """One other eps for all channels, a usual one or the one that the output shows."""
    own = seen.own
    told = (own.gamma / _lines(seen)[0]) ** 2 - own.var  # (C,)
    told = told[np.isfinite(told)]
    shown = [float(f"{np.median(told):.4g}"), float(np.median(told))] if told.size else []
    fitting = []
    for value in (*EPS, *shown):
        line = replace(own, eps=value).line()
        if value != own.eps and value > -own.var.min() and seen.fits(line).all():
            fitting.append((value, line))
    if fitting:
        value, line = fitting[0]
        words = f"eps {value:.4g} instead of {own.eps:g}"
        if value == 0:
            most = max(other for other, _ in fitting)
            words = f"eps left out, or no larger than {most:g}" if most else "eps left out"
        yield "batch_norm_eps", f"batch norm: {words}", line


def _lines(seen: Seen) -> Line:
    """Scale and shift of each channel by least squares, but the declared ones where they fit or one point is all."""
    x, y, own = seen.x, seen.got, seen.own.line()
    usable = np.isfinite(x) & np.isfinite(y)
    count = np.maximum(usable.sum(0), 1)
    middle = np.where(usable, x, 0).sum(0) / count
    off = np.where(usable, x - middle, 0)
    spread = (off * off).sum(0)
    scale = np.where(spread > 0, (off * np.where(usable, y, 0)).sum(0) / np.where(spread > 0, spread, 1), own[0])
    shift = np.where(usable, y - scale * x, 0).sum(0) / count
    kept = seen.fits(own) | (spread == 0)
    return np.where(kept, own[0], scale), np.where(kept, own[1], shift)


def _solved(seen: Seen) -> Iterator[tuple[str, str, Line]]:
    """The lines that the output shows, and which parameter makes them."""
    own, line = seen.own, _lines(seen)
    (a, b), wrong = line, ~seen.fits(own.line())
    c, many = int(np.flatnonzero(wrong)[0]), f"in {int(wrong.sum())} of {len(a)} channels"
    scale = own.line()[0]
    off = seen.got - seen.x * scale
    moved = scale, np.where(wrong, np.nanmean(np.where(np.isfinite(off), off, np.nan), 0), own.line()[1])
    if seen.fits(moved).all():
        found = {"beta": moved[1] + own.mean * scale, "mean": (own.beta - moved[1]) / scale}
        yield _told(seen, found, wrong, many, c, moved)
    elif not seen.fits(line).all():
        return
    elif seen.fits(_from_scale(own, a)).all():
        found = {"gamma": a * np.sqrt(own.var + own.eps), "var": (own.gamma / a) ** 2 - own.eps}
        if (found["var"][wrong] < 0).any() or (own.gamma / a < 0).any():
            del found["var"]
        yield _told(seen, found, wrong, many, c, line)
    else:
        was = own.line()
        words = f"in {c} it is x * {a[c]:.6g} + {b[c]:.6g} instead of x * {was[0][c]:.6g} + {was[1][c]:.6g}"
        yield "scale_shift_fitted", f"another scale and shift {many}: {words}", line


def _told(
    seen: Seen, found: Mapping[str, np.ndarray], wrong: np.ndarray, many: str, c: int, line: Line
) -> tuple[str, str, Line]:
    """The parameters that may be wrong: one where its values alone are such as a port takes, else each."""
    plain = {key: value for key, value in found.items() if _regular(value[wrong], getattr(seen.own, key)[wrong])}
    kept = plain if len(plain) == 1 else found
    told = " or ".join(
        f"{WORD[key]} ({value[c]:.6g} instead of {getattr(seen.own, key)[c]:.6g} in channel {c})"
        for key, value in kept.items()
    )
    name = "_or_".join("variance" if key == "var" else key for key in kept)
    return f"batch_norm_{name}", f"batch norm: {told} wrong {many}", line


def _regular(value: np.ndarray, was: np.ndarray) -> bool:
    """Whether a parameter is another one by a rule: one number added or multiplied for all, or by short numbers."""
    differences, ratios = value - was, value / was
    if len(value) > 1:
        return any(bool(np.ptp(v) <= 2e-6 * max(1.0, float(np.abs(v).max()))) for v in (differences, ratios))
    return any(abs(float(f"{v[0]:.3g}") - v[0]) <= 2e-6 * max(1.0, abs(v[0])) for v in (differences, ratios))
