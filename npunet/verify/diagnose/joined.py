"""Patterns of additions and concatenations: one of the inputs was read otherwise, or both were in another format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npunet.verify.diagnose.elsewhere import changes
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.rare_formats import saturated
from npunet.verify.diagnose.rare_weighting import formats

F = np.float32
TERMS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "a": lambda a, b: a, "b": lambda a, b: b, "a b": lambda a, b: a * b,
    "|a|": lambda a, b: np.abs(a), "|b|": lambda a, b: np.abs(b), "": lambda a, b: np.ones(a.shape),
}
FEWEST = 24  # elements from which a formula is solved
SMALL = 1e-5  # a factor that is none
FARTHEST = 9  # rows, columns or channels that an input may be moved by
NOT_OF_INPUTS = ("printed", "input channel", "filter", "pruned")  # formats of weights
Named = Iterator[tuple[str, np.ndarray]]


@pattern("add", "concat")
def joined_input_changed(s: Sight) -> Guesses:
    """One of the two inputs in another order, place or scale; the other is right."""
    for number, word in enumerate(("first", "second")[: len(s.inputs)]):
        for words, x in (*changes(s.inputs[number]), *_turned(s.inputs[number])):
            inputs = [v if k != number else np.ascontiguousarray(x, F) for k, v in enumerate(s.inputs)]
            yield Guess(f"the {word} input {words}", recipe=s.recipe.but(inputs=tuple(inputs)))


def _turned(x: np.ndarray) -> Named:
    """What `changes` has not: turned, and moved with the edge repeated."""
    N, H, W, C = x.shape
    if H > 1:
        yield "is turned by 180 degrees", x[:, ::-1, ::-1]
    yield "is in reverse order in memory", x.reshape(N, -1)[:, ::-1].reshape(x.shape)
    for axis, name in ((1, "rows"), (2, "columns"), (3, "channels")):
        extent = x.shape[axis]
        for by in range(1, min(extent, FARTHEST)):
            for sign, way in ((by, "later"), (-by, "earlier")):
                at = np.clip(np.arange(extent) + sign, 0, extent - 1)
                yield f"is read {by} {name} {way}, the edge repeated", np.take(x, at, axis)
    elements = x.reshape(N, -1)
    for by in range(1, min(elements.shape[1], FARTHEST)):
        for sign, way in ((by, "later"), (-by, "earlier")):
            at = np.clip(np.arange(elements.shape[1]) + sign, 0, elements.shape[1] - 1)
            yield f"is read {by} elements {way}, the end repeated", elements[:, at].reshape(x.shape)
            yield f"is read {by} elements {way}, around the end", np.roll(elements, -sign, 1).reshape(x.shape)
    flat = x.reshape(N, H * W, C)
    for by in range(1, min(H * W, 2 * W + 1)):
        for sign, way in ((by, "later"), (-by, "earlier")):
            at = np.arange(H * W) + sign
            inside = (at >= 0) & (at < H * W)
            taken = flat[:, np.clip(at, 0, H * W - 1)]
            yield (f"is read {by} positions {way}, around the end",
                   np.roll(flat, -sign, 1).reshape(x.shape))
            yield f"is read {by} positions {way}, the edge repeated", taken.reshape(x.shape)
            yield (f"is read {by} positions {way}, zero beyond the end",
                   np.where(inside[:, None], taken, F(0)).reshape(x.shape))


@pattern("add", rank=2)
def addends_format(s: Sight) -> Guesses:
    """Inputs, and the sum too, in a narrow format."""
    a, b = s.inputs
    for words, function in formats():
        if any(other in words for other in NOT_OF_INPUTS):
            continue
        first, second = function(a).astype(F), function(b).astype(F)
        for told, total in (("both inputs", first + second), ("the first input", first + b),
                            ("the second input", a + second)):
            yield Guess(f"{told} {words}", total)
            yield Guess(f"{told} {words}, and the sum too", function(total).astype(F))
    for name, bits in (("int8", 8), ("int16", 16)):
        for point in range(bits):
            parts = [saturated(x, bits, point) for x in (a, b)]
            for told, total in (("the first input", parts[0] + b), ("the second input", a + parts[1]),
                                ("both inputs", parts[0] + parts[1])):
                yield Guess(f"{told} in {name} with {point} fractional bits, saturated", total)
            yield Guess(f"both inputs and the sum in {name} with {point} fractional bits, saturated",
                        saturated(parts[0] + parts[1], bits, point))
            yield Guess(f"the sum in {name} with {point} fractional bits, saturated", saturated(a + b, bits, point))


@pattern("add", rank=2)
def addends_formula(s: Sight) -> Guesses:
    """The two inputs a and b joined by another formula, whose factors are solved."""
    a, b = (x.astype(np.float64) for x in s.inputs)
    good = np.isfinite(a) & np.isfinite(b) & np.isfinite(s.got)
    if np.count_nonzero(good) < FEWEST:
        return
    for names in (("a", "b", ""), ("a", "b", "a b", ""), ("|a|", "b", ""), ("a", "|b|", ""), ("|a|", "|b|", "")):
        columns = np.stack([TERMS[name](a, b)[good] for name in names], 1)
        factors, _, rank, _ = np.linalg.lstsq(columns, s.got[good].astype(np.float64), rcond=1e-9)
        for digits in (2, 3, 6) if rank == len(names) else ():
            chosen = [float(f"{value:.{digits}g}") if abs(value) > SMALL else 0.0 for value in factors]
            yield _joined(s, chosen, names)


def _joined(s: Sight, factors: list[float], names: tuple[str, ...]) -> Guess:
    """The sum of terms of both inputs, each times a factor."""
    a, b = (x.astype(np.float64) for x in s.inputs)
    parts = [TERMS[name](a, b) * factor for name, factor in zip(names, factors, strict=True) if factor]
    told = " + ".join((f"{factor:g} " * (factor != 1 or not name) + name).strip()
                      for name, factor in zip(names, factors, strict=True) if factor)
    y = sum(parts, np.zeros(a.shape))
    near = 4 * 2.0**-24 * sum((np.abs(part) for part in parts), np.abs(y))
    return Guess(f"{told} instead of a + b", y, near, again=lambda other: _joined(other, factors, names))
