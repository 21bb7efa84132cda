"""Patterns of storage: numbers that went through text, fixed point or integers with a scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npunet.verify.compare import same
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

SAMPLE = 64
WIDTHS = (4, 8, 12, 16, 24, 32)
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rounded": np.rint,
    "rounded, ties away from zero": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "rounded, ties up": lambda x: np.floor(x + 0.5),
    "cut towards zero": np.trunc,
    "cut downwards": np.floor,
}


@pattern()
def printed_decimal(s: Sight) -> Guesses:
    """Values printed with a few decimals and read again."""
    flat = s.right.ravel()
    at = np.flatnonzero(s.differs.ravel())
    sample = np.unique(at[np.linspace(0, len(at) - 1, min(SAMPLE, len(at))).round().astype(int)])
    for form in [f".{n}{kind}" for kind in "fg" for n in range(10)]:
        if same(printed(flat[sample], form), s.got.ravel()[sample]).all():
            told, n = f"%{form}", int(form[1])
            if form[-1] == "g" and n:
                usual = {6: "%g, ", 7: "%e, "}.get(n, "")
                told = f"{n} significant digits ({usual}%.{n}g or %.{n - 1}e)"
            elif n == 6:
                told = "%f (%.6f)"
            y = printed(flat, form).reshape(s.right.shape)
            yield Guess(f"the right numbers, printed with {told} and read again", y)
            yield Guess(f"the right numbers, printed with {told} and read again, zeros without sign", y + 0)


def printed(values: np.ndarray, form: str) -> np.ndarray:
    """Numbers as text and back; float32, (K,)."""
    return np.array([float(format(value, form)) for value in values.tolist()]).astype(np.float32)


@pattern()
def fixed_point(s: Sight) -> Guesses:
    """Values on a grid of a power of two: Q formats with every rounding, saturating or wrapping."""
    point = binary_point(s.got)
    if point is None or binary_point(s.right) == point:
        return
    scale = 2.0**point
    for words, whole in fixed(s.right.astype(np.float64) * scale):
        yield Guess(f"the output stored with {point} fractional bits, {words}", (whole / scale).astype(np.float32))
        yield Guess(f"the output stored with {point} fractional bits, {words}, zeros without sign",
                    (whole / scale).astype(np.float32) + 0)


def binary_point(values: np.ndarray) -> int | None:
    """The fewest fractional bits that hold all values; None where more than 24 do or nothing can be told."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.any():
        return None
    return next((p for p in range(-8, 25) if np.array_equal(np.rint(finite * 2.0**p), finite * 2.0**p)), None)


def fixed(exact: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Values in units of the last place as integers of every width, with the words for how."""
    finite = np.where(np.isfinite(exact), exact, 0)
    for rounding, function in ROUNDINGS.items():
        whole = function(finite)
        most = float(np.abs(whole).max(initial=0))
        yield rounding, whole
        for bits in WIDTHS:
            top = 2.0 ** (bits - 1)
            if most >= top:
                yield f"{rounding}, saturated to {bits} bits", np.clip(whole, -top, top - 1)
                yield f"{rounding}, wrapped to {bits} bits", np.remainder(whole + top, 2 * top) - top
            if float(whole.max(initial=0)) >= 2 * top or float(whole.min(initial=0)) < 0:
                yield f"{rounding}, saturated to {bits} bits without sign", np.clip(whole, 0, 2 * top - 1)


@pattern()
def quantised_storage(s: Sight) -> Guesses:
    """Values on an even grid: integers with a scale, one for all or one for every channel."""
    yield from _calibrated(s)
    found = _grid(s.got)
    if found is not None:
        yield from _quantised(s, found[0], found[1], f"step {found[0]:.6g}")
        return
    steps = [_grid(s.got[..., c]) for c in range(s.got.shape[3])]
    if s.got.shape[3] > 1 and all(step is not None for step in steps):
        step = np.array([known[0] for known in steps if known is not None])
        levels = max(known[1] for known in steps if known is not None)
        yield from _quantised(s, step, levels, "a step for every channel")


def _calibrated(s: Sight) -> Guesses:
    """Integers whose scale follows from the largest or the smallest and largest right value."""
    right = s.right.astype(np.float64)
    if not np.isfinite(right).all():
        return
    for per, axes in (("one scale", None), ("a scale for every channel", (0, 1, 2))):
        top, low, high = (f(axis=axes, keepdims=True) for f in (np.abs(right).max, right.min, right.max))
        for bits in (4, 8, 16):
            half, levels = 2 ** (bits - 1), 2**bits - 1
            for words, step, zero in (
                ("symmetric", top / (half - 1), 0.0),
                ("symmetric, scaled to the power of two", top / half, 0.0),
                ("from the smallest to the largest value",
                 (np.maximum(high, 0) - np.minimum(low, 0)) / levels, np.minimum(low, 0)),
                ("from the smallest to the largest value, which does not hold 0", (high - low) / levels, low),
            ):
                step = np.where(step > 0, step, 1.0)
                units = (right - zero) / step
                whole = np.rint(units)
                if words.startswith("from") and not words.endswith("0"):
                    whole = np.clip(np.rint(right / step) + np.rint(-zero / step), 0, levels) - np.rint(-zero / step)
                    y = whole * step
                else:
                    y = whole * step + zero
                ties = np.abs(np.abs(units - np.trunc(units)) - 0.5) < 1e-3
                near = np.where(ties, 1.001 * step, 2.0**-20 * np.abs(y) + 2e-3 * step)
                yield Guess(f"the output quantised to {bits} bits ({words}, {per})", y, near)


def _grid(values: np.ndarray) -> tuple[float, int] | None:
    """(step, levels) of values that are all multiples of a step and no more than 16 bits of them."""
    levels = np.unique(values[np.isfinite(values)].astype(np.float64))
    if len(levels) < 4:
        return None
    step = float(np.diff(levels).min())
    if step <= 0 or np.ptp(levels) / step > 65536:
        return None
    for _ in range(3):
        count = np.rint(levels / step)
        step = float((levels * count).sum() / (count * count).sum()) if count.any() else step
    count = np.rint(levels / step)
    close = np.abs(levels - count * step) <= 2.0**-22 * np.abs(levels) + 1e-4 * step
    span = int(np.ptp(count)) + 1
    crowded = len(levels) >= 0.02 * span or span <= 256
    return (step, span) if close.all() and crowded else None


def _quantised(s: Sight, step: float | np.ndarray, levels: int, told: str) -> Guesses:
    bits = next(bits for bits in (4, 8, 16, 32) if levels <= 1 << bits)
    low, high = s.got.min(tuple(range(3))), s.got.max(tuple(range(3)))
    if np.ndim(step) == 0:
        low, high = s.got.min(), s.got.max()
    for words, function in ROUNDINGS.items():
        y = np.clip(function(s.right.astype(np.float64) / step) * step, low, high)
        wide = 2.0**-21 * np.abs(y) + 1e-3 * np.asarray(step)
        ties = np.abs(np.abs(s.right / step - np.trunc(s.right / step)) - 0.5) < 1e-3
        near = np.where(ties & (words[0] == "r"), 1.001 * step, wide)
        yield Guess(f"the output quantised to {bits} bits ({told}, {words})", y, near, name="quantised_storage")
