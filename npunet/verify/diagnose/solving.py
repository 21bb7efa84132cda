"""Which parameter of a batch norm is wrong: the line of every channel is read off the output and solved.

At inference a batch norm is one line a channel, y = a x + b with a = gamma / sqrt(var + eps), b = beta - mean a.
Beta and mean leave a alone; gamma, variance and eps change a and with it b, and eps by one number for all channels.
What no line tells apart (beta from mean, gamma from variance) is told apart by its value where that is one that a port
takes by mistake, else both are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from npunet.verify.diagnose import biases
from npunet.verify.diagnose.mistakes import mistakes
from npunet.verify.diagnose.normal import NAME, WORD, Line, Seen, from_scale
from npunet.verify.diagnose.regions import runs

APPROXIMATE = 0.005  # of a scale: a difference that a quick formula or a table makes
LEFT_OUT = 2e-5  # by which a solved parameter may miss what leaving it out gives
EPS = (0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 2e-5, 1e-4, 1e-3, 1e-2, 0.1)
Named = Iterator[tuple[str, str, Line]]


def solve(seen: Seen) -> Named:
    """(hypothesis, words, line) of parameters that give what the port gave, the likeliest first."""
    done = False
    for name, words, line in (*_eps(seen), *mistakes(seen)):
        if seen.fits(line).all():
            done = True
            yield name, words, line
    if not done and not seen.fits(seen.own.line()).all():
        yield from _solved(seen)


def _eps(seen: Seen) -> Named:
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
    """Scale and shift of each channel by least squares, but the declared ones where they fit or one point is all.

    Every point counts by what rounding leaves uncertain of it: a large number says little of a small shift.
    """
    x, y, own = seen.x, seen.got, seen.own.line()
    usable = np.isfinite(x) & np.isfinite(y)
    weight = np.where(usable, 1 / np.maximum(seen.allowance(own), 1e-30) ** 2, 0)
    total = np.maximum(weight.sum(0), 1e-300)
    middle = (weight * np.where(usable, x, 0)).sum(0) / total
    off = np.where(usable, x - middle, 0)
    spread = (weight * off * off).sum(0)
    slope = (weight * off * np.where(usable, y, 0)).sum(0) / np.where(spread > 0, spread, 1)
    scale = np.where(spread > 0, slope, own[0])
    shift = (weight * np.where(usable, y - scale * x, 0)).sum(0) / total
    kept = seen.fits(own) | (spread == 0)
    return np.where(kept, own[0], scale), np.where(kept, own[1], shift)


def _solved(seen: Seen) -> Named:
    """The lines that the output shows, and which parameter makes them."""
    own, line = seen.own, _lines(seen)
    (a, b), wrong = line, ~seen.fits(own.line())
    c, many = int(np.flatnonzero(wrong)[0]), f"in {int(wrong.sum())} of {len(a)} channels"
    scale = own.line()[0]
    off = seen.got - seen.x * scale
    moved = scale, np.where(wrong, np.nanmean(np.where(np.isfinite(off), off, np.nan), 0), own.line()[1])
    for factor in dict.fromkeys(_likely(moved[1][wrong] / own.line()[1][wrong])):
        times = scale, np.where(wrong, own.line()[1] * factor, own.line()[1])
        if wrong.sum() > 1 and seen.fits(times).all():
            words = f"batch norm: shift (the bias, where it is folded into one) times {factor:.6g} {many}"
            yield "batch_norm_shift", words, times
            return
    if seen.fits(moved).all():
        found = {"beta": moved[1] + own.mean * scale, "mean": (own.beta - moved[1]) / scale}
        yield _told(seen, found, wrong, many, c, moved)
    elif not seen.fits(line).all():
        return
    elif seen.fits(from_scale(own, a)).all():
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
    ratio = line[0][wrong] / seen.own.line()[0][wrong]
    if "gamma" in found and len(ratio) > 1 and not _one(ratio) and np.abs(ratio - 1).max() < APPROXIMATE:
        words = f"1 / sqrt(variance + eps) approximated: off by up to {np.abs(ratio - 1).max():.2g} of itself"
        return "batch_norm_variance", f"batch norm: {words} {many}", line
    for key, value in found.items():
        neutral = float(key in ("gamma", "var"))
        own = getattr(seen.own, key)[wrong]
        if (np.abs(value[wrong] - neutral) <= LEFT_OUT * np.maximum(np.abs(own), 1.0)).all():
            listed = runs(np.flatnonzero(wrong))
            channels = f"in channel{'s' if wrong.sum() > 1 else ''} {listed} of {len(wrong)}"
            return NAME[key], f"batch norm: {WORD[key]} left out {channels}", line
    plain = {key: value for key, value in found.items() if _regular(value[wrong], getattr(seen.own, key)[wrong])}
    likely = plain if len(plain) == 1 else found
    ruled = {key: words for key, value in likely.items() if (words := _rule(value, getattr(seen.own, key)))}
    if ruled:
        name = "_or_".join("variance" if key == "var" else key for key in ruled)
        return f"batch_norm_{name}", f"batch norm: {' or '.join(f'{WORD[k]} {v}' for k, v in ruled.items())}", line
    kept = plain if len(plain) == 1 else found
    told = " or ".join(
        f"{WORD[key]} ({value[c]:.6g} instead of {getattr(seen.own, key)[c]:.6g} in channel {c})"
        for key, value in kept.items()
    )
    name = "_or_".join("variance" if key == "var" else key for key in kept)
    return f"batch_norm_{name}", f"batch norm: {told} wrong {many}", line


def _rule(value: np.ndarray, was: np.ndarray) -> str:
    """How a parameter comes from the right one, "" where it is just another."""
    words = biases.told(was, value, LEFT_OUT * np.maximum(np.abs(was), 1.0), {})
    return "" if words.startswith("another") or ", the same" in words else words


def _likely(ratios: np.ndarray) -> list[float]:
    """One factor for all: the middle one, and what it is with few digits."""
    known = ratios[np.isfinite(ratios)]
    return [float(f"{np.median(known):.{digits}g}") for digits in (1, 2, 3, 6)] if known.size else []


def _one(values: np.ndarray) -> bool:
    """Whether all are one number."""
    return bool(np.isfinite(values).all() and np.ptp(values) <= 4e-6 * max(1e-6, float(np.abs(values).max())))


def _regular(value: np.ndarray, was: np.ndarray) -> bool:
    """Whether a parameter is another one by a rule: one number added or multiplied for all, or by short numbers."""
    differences, ratios = value - was, value / was
    if len(value) > 1:
        return any(bool(np.ptp(v) <= 2e-6 * max(1.0, float(np.abs(v).max()))) for v in (differences, ratios))
    return any(abs(float(f"{v[0]:.3g}") - v[0]) <= 2e-6 * max(1.0, abs(v[0])) for v in (differences, ratios))
