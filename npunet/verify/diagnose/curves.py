"""Patterns of activations: tables and approximations, seen as curves of output over input."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npunet.ops.activation import SELU_ALPHA, SELU_SCALE
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

SIZES = (8, 16, 32, 64, 100, 128, 200, 256, 512, 1000, 1024, 2048, 4096)
REACHES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 20.0, 32.0)
APART = 16 * 2.0**-24  # of the largest: less is only rounding
CLOSE = 0.05  # what an approximation may be off; more is another function
Curve = Callable[[np.ndarray], np.ndarray]


def _curve(op: str) -> Curve | None:
    """An activation in float64 where x is negative."""
    if op == "elu":
        return np.expm1
    return (lambda x: SELU_SCALE * SELU_ALPHA * np.expm1(x)) if op == "selu" else None


@pattern("elu", "selu")
def exponential_table(s: Sight) -> Guesses:
    """A table of the exponential part: the nearest entry, the one before, or straight lines between."""
    curve = _curve(s.recipe.op)
    x = s.inputs[0].astype(np.float64)
    low = x < 0
    if curve is None or not s.differs[low].any() or s.differs[~low].any():
        return
    at, seen = x[low], s.got[low].astype(np.float64)
    for words, function in _tables(curve):
        y = function(at)
        if np.mean(np.abs(y - seen) <= 4e-6) > 0.98:
            whole = s.right.astype(np.float64)
            whole[low] = y
            yield Guess(f"the exponential by a table of {words}", whole, np.where(low, 4e-6, 0.0))


def _tables(curve: Curve) -> Iterator[tuple[str, Curve]]:
    for reach in REACHES:
        for size in SIZES:
            for entries, steps in ((size + 1, size), (size, size - 1), (size, size)):
                step = reach / steps
                nodes = curve(-reach + step * np.arange(steps + 1))
                for name, take in (("straight lines between", _lines), ("the nearest entry", _nearest),
                                   ("the entry before", _floor), ("the entry behind", _ceiling)):
                    words = f"{entries} entries from {-reach:g} to {0 if entries > steps else -step:g}, {name}"
                    yield words, _reading(take, nodes, reach, step)


def _reading(take: Callable[[np.ndarray, np.ndarray], np.ndarray], nodes: np.ndarray, reach: float, step: float
             ) -> Curve:
    """A table's entries for x between -reach and 0."""
    return lambda x: take((np.maximum(x, -reach) + reach) / step, nodes)


def _lines(at: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    k = np.clip(np.floor(at).astype(int), 0, len(nodes) - 2)
    return nodes[k] + (at - k) * (nodes[k + 1] - nodes[k])


def _nearest(at: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return nodes[np.clip(np.rint(at).astype(int), 0, len(nodes) - 1)]


def _floor(at: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return nodes[np.clip(np.floor(at).astype(int), 0, len(nodes) - 1)]


def _ceiling(at: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return nodes[np.clip(np.ceil(at).astype(int), 0, len(nodes) - 1)]


@pattern("elu", "selu", rank=2)
def exponential_approximated(s: Sight) -> Guesses:
    """Right where x is positive, a little off where it is negative, by the same amount for the same x."""
    x, off = s.inputs[0], np.abs(s.got.astype(np.float64) - s.right)
    low = x < 0
    if not np.isfinite(off).all() or s.differs[~low].any() or off[low].max(initial=0) <= APART:
        return
    if off.max() <= CLOSE and _function_of(x[low], s.got[low]) and _smooth(x[low], s.got[low]):
        words = f"another exponential, a table or an approximation: off by up to {off.max():.2g} where x is negative"
        yield Guess(words, s.got)


def _function_of(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether equal x have equal y."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    same = x[1:] == x[:-1]
    return bool((y[1:][same] == y[:-1][same]).all())


def _smooth(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether y grows with x, as an approximation of something that does."""
    order = np.argsort(x, kind="stable")
    falls = np.diff(y[order].astype(np.float64)) < -CLOSE / 10
    return len(x) > 8 and not falls.any()


@pattern("softmax")
def softmax_other(s: Sight) -> Guesses:
    """Another axis, base, temperature or exponential, up to rounding."""
    x = s.inputs[0].astype(np.float64)
    for words, axes in (("all positions of a channel", (1, 2)), ("rows", (1,)), ("columns", (2,)),
                        ("the whole sample", (1, 2, 3)), ("the batch", (0,)), ("rows and channels", (1, 3)),
                        ("columns and channels", (2, 3))):
        y = _soft(x, axes)
        yield Guess(f"softmax over {words} instead of the channels", y, 1e-6 * np.abs(y) + 1e-12)
    once = _soft(x, (3,))
    for words, y in (("softmax twice", _soft(once, (3,))), ("sigmoid instead of softmax", 1 / (1 + np.exp(-x))),
                     ("logarithm of the softmax", np.log(once)), ("exponentials without the division", np.exp(x)),
                     ("scores divided by their sum, without exponentials", x / x.sum(3, keepdims=True)),
                     ("1 for the largest class, 0 else (argmax)", (x == x.max(3, keepdims=True)).astype(float))):
        yield Guess(words, y, 4e-6 * np.abs(y) + (1e-6 if "logarithm" in words else 1e-12))
    e = np.exp(x - x.max(3, keepdims=True))
    for c in range(x.shape[3]):
        y = e / np.where(e.sum(3, keepdims=True) > e[..., c : c + 1], e.sum(3, keepdims=True) - e[..., c : c + 1], 1)
        yield Guess(f"softmax without class {c} in the sum", y, 1e-5 * y + 1e-12)
    largest, total = e.max(3, keepdims=True), e.sum(3, keepdims=True)
    for way, rounding in (("above", np.ceil), ("below", np.floor), ("nearest", np.rint)):
        y = e / 2 ** rounding(np.log2(total))
        yield Guess(f"exponentials divided by the power of two {way} of their sum", y, 4e-6 * y + 1e-12)
    for limit in (*(2.0**-n for n in range(1, 17)), *(10.0**-n for n in range(1, 7))):
        kept = np.where(e < limit * largest, 0, e)
        y = kept / kept.sum(3, keepdims=True)
        yield Guess(f"softmax with exponentials below {limit:g} taken for zero", y, 4e-6 * y + 1e-12)
    yield from _temperature(s, x)
    flat = x.reshape(len(x), -1)
    N, H, W, C = x.shape
    planar = _soft(flat.reshape(N, C, H * W), (1,)).reshape(x.shape)
    yield Guess("softmax as if the channels came first", planar, 1e-6 * planar + 1e-12)


def _soft(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    e = np.exp(x - x.max(axes, keepdims=True))
    return e / e.sum(axes, keepdims=True)


def _temperature(s: Sight, x: np.ndarray) -> Guesses:
    """The scores multiplied by a number that the ratios of classes show."""
    logs, scores = np.log(s.got.astype(np.float64)), x
    a, b = logs[..., 1:] - logs[..., :1], scores[..., 1:] - scores[..., :1]
    usable = np.isfinite(a) & (np.abs(b) > 1e-3)
    if not usable.any():
        return
    factor = float((a * b)[usable].sum() / (b * b)[usable].sum())
    for told in dict.fromkeys((float(f"{factor:.3g}"), float(f"{factor:.6g}"))):
        known = {0.6931: "exponentials to the base 2 (2^x)", 2.303: "exponentials to the base 10"}
        words = next((text for value, text in known.items() if abs(value - factor) < 1e-3), None)
        exact = {0.6931: np.log(2), 2.303: np.log(10)}
        number = next((exact[value] for value in exact if abs(value - factor) < 1e-3), told)
        y = _soft(scores * number, (3,))
        yield Guess(words or f"softmax of the scores times {told:g}", y, 1e-5 * y + 1e-12)


@pattern("softmax", rank=2)
def softmax_approximated(s: Sight) -> Guesses:
    """Near the right shares everywhere, and not for want of rounding alone."""
    off = np.abs(s.got.astype(np.float64) - s.right)
    if not np.isfinite(off).all() or off.max() > CLOSE or off.max() <= APART:
        return
    sums = s.got.astype(np.float64).sum(3)
    if np.abs(sums - 1).max() <= 1e-5 and _shares(s):
        yield Guess(f"another exponential in the softmax, or an approximation: off by up to {off.max():.2g}", s.got)


def _shares(s: Sight) -> bool:
    """Whether the ratio of two classes depends on the difference of their scores alone, and grows with it."""
    x, y = s.inputs[0].astype(np.float64), s.got.astype(np.float64)
    largest = x.argmax(3)[..., None]
    gap = (x - np.take_along_axis(x, largest, 3)).ravel()
    share = (y / np.take_along_axis(y, largest, 3)).ravel()
    good = np.isfinite(share)
    return _smooth(gap[good], share[good])

