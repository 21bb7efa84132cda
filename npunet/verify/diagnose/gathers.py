"""Patterns of copies: outputs that hold vectors of the inputs, from other positions than they should."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.regions import runs

LEAST = 2  # different values of a vector, so that it can be told from another
SHOWN = 6
FACTORS = (2, 3, 4)


@pattern("concat", "upsample_nearest2d", "dropout_inference", rank=2)
def positions_read(s: Sight) -> Guesses:
    """The channels that differ hold another position's: all of their positions are found in an input, or are zero."""
    at = np.flatnonzero(s.differs.any((0, 1, 2)))
    N, OH, OW, C = s.right.shape
    for number, x, first in _sources(s):
        inside = at[(at >= first) & (at < first + x.shape[3])]
        if len(inside) != len(at) or not len(at):
            continue
        part = slice(at[0], at[-1] + 1)
        held = x[..., at[0] - first : at[-1] + 1 - first]
        places = _found(held, s.got[..., part])
        if places is None:
            continue
        flat = held.reshape(N, -1, held.shape[3])
        y = s.right.copy()
        y[..., part] = np.where(places[:, None] < 0, np.float32(0), flat[:, places]).reshape(N, OH, OW, -1)
        which = f"channels {runs(np.arange(at[0], at[-1] + 1))} of {C}: the positions of " + (
            "the input" if len(s.inputs) == 1 else f"input {number + 1}")
        yield Guess(f"{which} are others: {_rule(places)}", y,
                    again=partial(_again, first=first, part=part, number=number, places=places))


def _sources(s: Sight) -> Iterator[tuple[int, np.ndarray, int]]:
    """(number, input, its first channel in the output)."""
    first = 0
    for number, x in enumerate(s.inputs):
        yield number, x, first
        first += x.shape[3] if s.recipe.op == "concat" else 0


def _again(s: Sight, first: int, part: slice, number: int, places: np.ndarray) -> Guess:
    """The same positions in another case."""
    held = s.inputs[number][..., part.start - first : part.stop - first]
    flat = held.reshape(len(held), -1, held.shape[3])
    y = s.right.copy()
    if places.max() < flat.shape[1] and len(places) == y.shape[1] * y.shape[2]:
        y[..., part] = np.where(places[:, None] < 0, np.float32(0), flat[:, places]).reshape(*y.shape[:3], -1)
    return Guess("", y)


def _found(held: np.ndarray, got: np.ndarray) -> np.ndarray | None:
    """For every position of `got` the one of `held` with the same vector in the first sample, -1 for zeros."""
    vectors = np.ascontiguousarray(held[0].reshape(-1, held.shape[3]))
    wanted = np.ascontiguousarray(got[0].reshape(-1, got.shape[3]))
    listed: dict[bytes, int] = {}
    for place, vector in enumerate(vectors):
        listed.setdefault((vector + np.float32(0)).tobytes(), place)
    if len(listed) < LEAST + 1:
        return None
    places = np.array([listed.get((vector + np.float32(0)).tobytes(), -1 if not vector.any() else -2)
                       for vector in wanted])
    own = np.arange(len(places))
    if len(vectors) == len(places):  # equal vectors: its own place where that is right
        mine = [(vectors[k] + np.float32(0)).tobytes() == (wanted[k] + np.float32(0)).tobytes() for k in own]
        places = np.where(mine, own, places)
    return None if (places == -2).any() else places


def _rule(places: np.ndarray) -> str:
    """The positions as a rule where there is one, else the first ones."""
    n = np.arange(len(places))
    for factor in FACTORS:
        if (places == n // factor).all():
            return f"position / {factor}"
        if (places == n * factor % len(places)).all():
            return f"position * {factor}, around the end"
    return ", ".join(map(str, places[:SHOWN].tolist())) + ", ..." + " (-1: zeros)" * bool((places < 0).any())
