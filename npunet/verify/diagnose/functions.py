"""Patterns of functions: an output that is another function of what it read, or of the right one, element by element.

The function is read off the points (pieces), everywhere or in the part that is wrong, and has to hold for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from npunet.ops.table import ACTIVATIONS
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.pieces import FEW_ULP, SMOOTH, Piece, pieces, told, values
from npunet.verify.diagnose.places import places

SHOWN = 3
FEWEST = 12  # elements that a function is read off


@dataclass(frozen=True)
class Reading:
    """What is taken for a function of what.

    x     : the argument
    added : what is added to the function's value
    """

    x: Callable[[Sight], np.ndarray]
    added: Callable[[Sight], np.ndarray] | None = None

    def seen(self, s: Sight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, the function's value as the port shows it, and how far it may be off, float64."""
        x, y = (value.astype(np.float64) for value in (self.x(s), s.got))
        if self.added is None:
            return x, y, np.zeros(y.shape)
        added = self.added(s).astype(np.float64)
        return x, y - added, FEW_ULP * (np.abs(y) + np.abs(added))


@pattern(*ACTIVATIONS, rank=2)
def function_of_input(s: Sight) -> Guesses:
    """Another function of x than the declared one."""
    for where, mask in _parts(s):
        yield from _function(s, Reading(lambda t: t.inputs[0]), mask, "x",
                             f"{where}another function than {s.recipe.op}")


@pattern(*ACTIVATIONS, rank=2)
def function_by_channel(s: Sight) -> Guesses:
    """Another function of x in every channel."""
    C = s.got.shape[3]
    said: list[str] = []
    known: dict[int, list[Piece]] = {}
    for c in np.flatnonzero(s.differs.any((0, 1, 2))).tolist():
        x, y = s.inputs[0][..., c].astype(np.float64), s.got[..., c].astype(np.float64)
        if x.size < FEWEST or not (np.isfinite(x).all() and np.isfinite(y).all()):
            return
        found = pieces(x.ravel(), y.ravel())
        if found is None:
            return
        known[c] = found
        said.append(f"in {c} {told(found)}")
    if len(known) > 1:
        words = f"another function than {s.recipe.op} in {len(known)} of {C} channels, each its own: "
        yield _by_channel(s, known, words + " | ".join(said[:SHOWN]) + (" | ..." if len(said) > SHOWN else ""))


def _by_channel(s: Sight, known: dict[int, list[Piece]], words: str) -> Guess:
    """What functions of channels give in a case."""
    whole, near = s.right.astype(np.float64), np.zeros(s.got.shape)
    reading = Reading(partial(_input, number=0))
    for c, found in known.items():
        mask = np.zeros(s.got.shape, bool)
        mask[..., c] = True
        guess = _made(s, reading, found, mask, "")
        assert guess.y is not None and guess.allowance is not None
        whole, near = np.where(mask, guess.y, whole), np.where(mask, guess.allowance, near)
    return Guess(words, whole, near, again=partial(_by_channel, known=known, words=words))


@pattern(rank=2)
def function_of_output(s: Sight) -> Guesses:
    """Something is done to every element of the right output."""
    for where, mask in _parts(s):
        what = "the output" if where else "every output"
        words = f"{where}{what} is another function of the right one y"
        yield from _function(s, Reading(lambda t: t.right), mask, "y", words)


@pattern("add", rank=2)
def function_of_addend(s: Sight) -> Guesses:
    """One of the two inputs is changed before it is added."""
    for where, mask in _parts(s):
        for number, word in ((1, "second"), (0, "first")):
            reading = Reading(partial(_input, number=number), partial(_input, number=1 - number))
            yield from _function(s, reading, mask, "x", f"{where}the {word} input x is changed before it is added")


def _input(s: Sight, number: int) -> np.ndarray:
    return s.inputs[number]


def _parts(s: Sight) -> Iterator[tuple[str, np.ndarray]]:
    """(words, mask): all, then the parts in which all that differs lies."""
    yield "", np.ones(s.got.shape, bool)
    for place in places(s.differs, most=0.9):
        yield f"{place.words}: ", place.mask


def _function(s: Sight, reading: Reading, mask: np.ndarray, name: str, words: str) -> Guesses:
    """The function of x that the port's numbers are, where a mask says so."""
    x, y, room = reading.seen(s)
    usable = mask & np.isfinite(x) & np.isfinite(y)
    if np.count_nonzero(usable) < FEWEST or (mask & ~usable & s.differs).any():
        return
    found = pieces(x[usable], y[usable], room[usable])
    if found is not None:
        part = None if mask.all() else mask
        yield _made(s, reading, found, part, f"{words}: {told(found, name)}")


def _made(s: Sight, reading: Reading, found: list[Piece], mask: np.ndarray | None, words: str) -> Guess:
    """What a function gives in a case; beyond its ends nothing is known, and any value will do."""
    x, y, room = reading.seen(s)
    usable = np.isfinite(x) & np.isfinite(y)
    if mask is not None and mask.shape == y.shape:
        usable &= mask
    made = values(found, x)
    beyond = (x < found[0].low) | (x > found[-1].high)
    gap = np.isnan(made) & ~beyond
    made = np.where(gap, _between(found, x, y), made)
    whole = np.where(np.isnan(made), y, made)
    whole = whole if reading.added is None else whole + reading.added(s)
    whole = np.where(usable, whole, s.got if mask is None else s.right)
    near = np.where(usable, SMOOTH * np.abs(y[usable]).max(initial=0) + FEW_ULP * np.abs(whole) + 2 * room, 0.0)
    return Guess(words, whole, near, again=lambda other: _made(other, reading, found, mask, words))


def _between(found: list[Piece], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Between two pieces what was seen, as far as it lies between their ends."""
    made = np.full(x.shape, np.nan)
    for before, behind in pairwise(found):
        at = (x > before.high) & (x < behind.low)
        ends = float(before.curve(np.array([before.high]))[0]), float(behind.curve(np.array([behind.low]))[0])
        made[at] = np.clip(y[at], min(ends), max(ends))
    return made
