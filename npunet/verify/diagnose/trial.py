"""One piece of evidence while causes are tried on it."""

from __future__ import annotations

from math import prod

import numpy as np

from npunet.verify.compare import same
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.causes import Evidence
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.rule import Score, hits, nearer, score

SAMPLE = 48  # positions that differ, and as many that do not
CHUNK = 1 << 22  # products that are held at once


class Trial:
    """What a layer gave in one case, with its recipe and its right output.

    places : flat positions of the sample on which convolutions are tried first
    """

    def __init__(self, evidence: Evidence, recipe: Recipe, right: np.ndarray) -> None:
        self.evidence, self.recipe, self.right, self.got = evidence, recipe, right, evidence.got
        self.size = self.got.size
        self.equal = same(self.got, right)
        self.unchanged = int(np.count_nonzero(self.equal))
        rows = self.equal.reshape(-1, self.equal.shape[-1]).all(1)  # by position
        self.places = np.concatenate([_spread(np.flatnonzero(~rows)), _spread(np.flatnonzero(rows))])
        self.rows = self.got.reshape(-1, self.got.shape[-1])
        self._reference: tuple[np.ndarray, np.ndarray] | None = None
        self._everywhere: tuple[np.ndarray, np.ndarray] | None = None

    def judge(self, y: np.ndarray, allowance: np.ndarray | None = None) -> Score:
        """A whole output, bit for bit or within an allowance that the reference is given too."""
        if allowance is None:
            return score(hits(y, self.got), self.equal)
        ours, theirs = hits(y, self.got, allowance), hits(self.right, self.got, allowance)
        if ours.all() and theirs.all():
            return Score(self.size, 0, 0, 0)  # a case that shows rounding alone, and does not tell them apart
        if not nearer(y, self.got, self.right):
            return Score(self.size, self.size - self.unchanged, 0, self.unchanged)
        return score(ours, theirs)

    def sums_agree(self, recipe: Recipe | None, exact: bool) -> bool:
        """Whether a recipe gives the dumped accumulator too; None: a fault after it, that leaves it right."""
        acc = self.evidence.acc
        if acc is None or (recipe is not None and not recipe.summed):
            return True
        bare = self.recipe.but(bias=None) if recipe is None else recipe.but(bias=None, after=(), when="last")
        rows = acc.reshape(self.rows.shape)[self.places]
        if exact or recipe is None:
            ways = [bare, bare.but(middle=())] if bare.middle else [bare]  # dumped after that, or before
            return any(bool(same(recipes.run(way, self.places), rows).all()) for way in ways)
        y, allowance = recipes.rough(bare, self.places)
        with np.errstate(all="ignore"):
            return bool((~np.isfinite(y) | ~np.isfinite(rows) | (np.abs(y - rows) <= allowance)).all())

    def sums_agree_in(self, recipe: Recipe | None, mask: np.ndarray) -> bool:
        """Whether the dumped accumulator is a recipe's within a mask (N, H, W, C), and elsewhere the right one."""
        acc = self.evidence.acc
        if acc is None:
            return True
        right = recipes.run(self.recipe.but(bias=None)).reshape(acc.shape)
        if recipe is not None and recipe.summed and recipe.when == "last":
            changed = recipes.run(recipe.but(bias=None, after=())).reshape(acc.shape)
            right = np.where(mask.reshape(acc.shape), changed, right)
        return bool(same(right, acc).all())

    def near(self, recipe: Recipe) -> Score:
        """A summed recipe on the sample, up to the rounding of sums in any order."""
        if self._reference is None:
            self._reference = self._near(self.recipe, self.places)
        return _judged(self._near(recipe, self.places), self._reference)

    def distance(self, recipe: Recipe) -> float:
        """Root mean square of what a summed recipe is off on the sample, in parts of what rounding allows."""
        y, allowance = recipes.rough(recipe, self.places)
        with np.errstate(all="ignore"):
            off = (y - self.rows[self.places]) / allowance
        return float(np.sqrt(np.mean(off[np.isfinite(off)] ** 2))) if np.isfinite(off).any() else float("inf")

    def near_everywhere(self, recipe: Recipe) -> Score:
        """The same on all positions."""
        places = np.arange(len(self.rows))
        step = max(1, CHUNK // max(1, prod(self.recipe.kernels[0].shape[:3])))
        if self._everywhere is None:
            self._everywhere = self._chunks(self.recipe, places, step)
        return _judged(self._chunks(recipe, places, step), self._everywhere)

    def sampled(self, recipe: Recipe) -> bool:
        """Whether a summed recipe gives every sampled element bit for bit."""
        return bool(same(recipes.run(recipe, self.places), self.rows[self.places]).all())

    def _chunks(self, recipe: Recipe, places: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [self._near(recipe, places[start : start + step]) for start in range(0, len(places), step)]
        return np.concatenate([fits for fits, _ in parts]), np.concatenate([judged for _, judged in parts])

    def _near(self, recipe: Recipe, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where it fits, and where both sides are finite so that this can be said."""
        y, allowance = recipes.rough(recipe, places)
        rows = self.rows[places]
        with np.errstate(all="ignore"):
            judged = np.isfinite(y) & np.isfinite(rows) & np.isfinite(allowance)
            return np.abs(y - rows) <= allowance, judged


def _judged(cause: tuple[np.ndarray, np.ndarray], reference: np.ndarray | tuple[np.ndarray, np.ndarray]) -> Score:
    both = cause[1] & reference[1]
    return score(cause[0][both], reference[0][both])


def _spread(places: np.ndarray) -> np.ndarray:
    """At most SAMPLE of the places, both ends among them."""
    if len(places) <= SAMPLE:
        return places
    return places[np.linspace(0, len(places) - 1, SAMPLE).round().astype(int)]
