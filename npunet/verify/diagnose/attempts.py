"""Trying a cause: on a sample, everywhere, in every case; and keeping what the rule allows to be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.causes import Cause, check_time
from npunet.verify.diagnose.patterns import Guess, Pattern, Sight
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import HYPOTHESES, RARE, Hypothesis
from npunet.verify.diagnose.rule import NEARER, NOTHING, Score, hits
from npunet.verify.diagnose.shelter import sheltered, unbroken
from npunet.verify.diagnose.trial import Trial
from npunet.verify.diagnose.wholes import WHOLES, Scene

# These change how sums are rounded and nothing else: they are tried on everything that fits up to rounding.
FINE = (
    "multiply_add",
    "order_of_walk",
    "order_of_groups",
    "sum_precision",
    "rounding_mode",
    "flush_to_zero",
    "bias_first",
    "subnormals_flushed",
    "total_cut",
    "half_of_separable",
    "order_any",
)
ALONE = ("sum_format", "between_halves")  # these round themselves, and are tried with the declared order alone
NEARLY = 0.95  # share of elements near enough for a recipe that rounds its output: the rest may round the other way
LIKE = 1.5  # causes up to rounding whose distances differ by less are told side by side
SOLVED = ("weights_fitted", "sums_weighted", "taps_elsewhere")  # with so many unknowns, much is nearly explained
MOST_LIMITED = 60  # causes that are tried in a part of the output
Parts = tuple[tuple[str, str], ...]  # (hypothesis, words) of what was changed


@dataclass(frozen=True, eq=False)
class Part:
    """What explains all that is wrong, but contradicts what is right.

    name, words : of the cause
    y           : the output that it gives
    recipe      : what gives it; None: a pattern, or something that happens to the output
    of_sums     : the accumulator is not predicted
    """

    name: str
    words: str
    y: np.ndarray
    recipe: Recipe | None = None
    of_sums: bool = False


class Attempts:
    """Causes of a layer's output while they are tried.

    trials   : the pieces of evidence, the one that shows the fault best first; sights : the same for patterns
    deadline : of time.perf_counter(), at which the search ends
    """

    def __init__(self, trials: list[Trial], sights: list[Sight], deadline: float) -> None:
        self.trials, self.sights, self.tried, self.deadline = trials, sights, 0, deadline
        self.first = trials[0]
        self.summed = self.first.recipe.op in CONVOLUTIONS
        self.total = sum(trial.size for trial in trials)
        self.causes: list[Cause] = []  # that explain everything
        self.partial: list[Cause] = []
        self.parts_of: list[Part] = []  # what may hold in a part
        self.seen_by: dict[Parts, Pattern] = {}  # of what is a recipe
        self.fixed: set[Parts] = set()  # what is the same recipe in every case

    def _next(self) -> None:
        """One more try. Raises TimeIsUp when there is no time for it."""
        check_time(self.deadline)
        self.tried += 1

    def _keep(self, names: tuple[str, ...], words: str, score: Score, exact: bool) -> None:
        """Enter a cause that the rule allows."""
        if score.told and (score.whole or names[0] not in SOLVED):
            cause = Cause(names, words, score.explained, self.total, exact)
            if not any(known.words == words for known in (*self.causes, *self.partial)):
                (self.causes if score.whole else self.partial).append(cause)

    def _fits(self, parts: Parts, recipe: Recipe) -> bool:
        """Whether a summed recipe is worth a look bit by bit; what explains most only is entered at once."""
        with sheltered():
            return self._fitting(parts, recipe)
        return False

    def _fitting(self, parts: Parts, recipe: Recipe) -> bool:
        self._next()
        if not recipe.summed:
            self._try(parts, recipe)
            return False
        near = self.first.near(recipe)
        if not near.size:  # NaN and infinities alone
            return self.first.sampled(recipe)
        rounds = bool(recipe.after or recipe.middle or recipe.between)
        if near.explained == near.size or (rounds and near.explained > NEARLY * near.size):
            return True
        if near.told:
            self._nearly(parts, recipe)
        elif near.lost and near.gained == near.missed > 0 and len(self.parts_of) < MOST_LIMITED:
            self.parts_of.append(Part(*parts[0], recipes.run(recipe), recipe))
        return False

    def _exactly(self, fitting: list[tuple[Parts, Recipe]], singly: bool = True) -> None:
        """Bit by bit: the recipes themselves, then with another way of rounding; if none is exact, as near ones."""
        for parts, recipe in fitting:
            if parts and self.first.sampled(recipe):
                self._try(parts, recipe)
        if self.causes:
            return
        for parts, recipe in fitting:
            if parts and parts[0][0] in ALONE:
                continue
            for name, words, changed in (*variants(recipe, FINE), *variants(recipe, FINE, RARE)):
                self._next()
                if self.first.sampled(changed):
                    self._try((*parts, (name, words)), changed)
            if self.causes and not parts:
                return  # another order and nothing else
        if self.causes or not singly:
            return
        known = [(self.first.distance(recipe), parts, recipe) for parts, recipe in fitting if parts]
        nearest = min([distance for distance, *_ in known], default=0.0)
        for distance, parts, recipe in known:
            if distance <= LIKE * nearest and distance <= NEARER * self.first.distance(self.first.recipe):
                self._nearly(parts, recipe)

    def _nearly(self, parts: Parts, recipe: Recipe) -> None:
        """A summed recipe everywhere and in every case, up to rounding."""
        total = NOTHING
        for trial in self.trials:
            changed = recipe if trial is self.first else self._again(trial, recipe, parts)
            total += trial.near_everywhere(trial.recipe if changed is None else changed)
            if total.lost:
                return
        if self.first.sums_agree(recipe, exact=False):
            self._keep(names_of(parts), words_of(parts), self._counted(total), False)

    def _counted(self, score: Score) -> Score:
        """A score over the elements that can be judged, as one over all."""
        return Score(self.total, score.missed, score.gained, score.lost)

    def _try(self, parts: Parts, recipe: Recipe) -> None:
        """Everywhere and in every case, bit for bit."""
        with sheltered():
            self._tried(parts, recipe)

    def _tried(self, parts: Parts, recipe: Recipe) -> None:
        self._next()
        total = NOTHING
        for trial in self.trials:
            changed = recipe if trial is self.first else self._again(trial, recipe, parts)
            y = trial.right if changed is None else recipes.run(changed)
            if y.shape != trial.got.shape:
                return
            total += trial.judge(y)
            if trial is self.first:
                self._may_be_a_part(parts, y, total, recipe)
            if total.lost or not total.gained:
                return
        if recipe.when == "first" or not recipe.summed or self.first.sums_agree(recipe, exact=True):
            self._keep(names_of(parts), words_of(parts), total, True)

    def _may_be_a_part(
        self, parts: Parts, y: np.ndarray, found: Score, recipe: Recipe | None = None, of_sums: bool = False
    ) -> None:
        """Remember what explains all that is wrong, but contradicts what is right: it may hold in a part."""
        if found.lost and found.gained == found.missed > 0 and len(parts) == 1 and len(self.parts_of) < MOST_LIMITED:
            self.parts_of.append(Part(*parts[0], y, recipe, of_sums))

    def _again(self, trial: Trial, recipe: Recipe, parts: Parts) -> Recipe | None:
        """What was tried on the first case, on another; a recipe with fitted numbers only gets other inputs."""
        if parts[:1] in self.fixed:
            return recipe.but(inputs=trial.recipe.inputs)
        if parts in self.seen_by:
            sight = next(s for t, s in zip(self.trials, self.sights, strict=True) if t is trial)
            guesses = self.seen_by[parts].guesses(sight)
            return next((guess.recipe for guess in guesses if guess.words == parts[0][1]), None)
        if parts[0][0] not in HYPOTHESES | RARE:
            return None if parts[0][0] == "gain_fitted" else recipe.but(inputs=trial.recipe.inputs)
        return rebuilt(trial.recipe, parts)

    def _spoilt_alike(self, name: str, words: str) -> bool:
        """Whether the dumped accumulator shows what the output shows: both were spoilt in the dump."""
        sums = self._sums_seen()
        scene = Scene(sums.right, sums.inputs, sums.evidence.others)
        return any(other == words and bool(hits(y, sums.got).all()) for other, y in WHOLES[name](scene))

    def _same_of_sums(self, pattern: Pattern, guess: Guess) -> bool:
        """The same of a pattern."""
        sums = self._sums_seen()
        return bool(sums.differs.any()) and any(
            (other.name or pattern.name) == (guess.name or pattern.name) and other.recipe is None
            and bool(hits(output_of(other), sums.got, other.allowance).all())
            for other in pattern.guesses(sums)
        )

    def _sums_seen(self) -> Sight:
        """The accumulator in the place of the output."""
        sight = self.sights[0]
        assert sight.evidence.acc is not None  # asked only where it disagrees
        right = recipes.run(sight.recipe.but(bias=None))
        evidence = replace(sight.evidence, got=sight.evidence.acc, acc=None)
        return replace(sight, right=right, evidence=evidence, differs=~hits(right, evidence.got))


def output_of(guess: Guess) -> np.ndarray:
    """What a guess predicts."""
    if guess.recipe is not None:
        return recipes.run(guess.recipe)
    assert guess.y is not None  # a guess holds one or the other
    return guess.y


def names_of(parts: Parts) -> tuple[str, ...]:
    return tuple(name for name, _ in parts)


def words_of(parts: Parts) -> str:
    return " and ".join(words for _, words in parts)


def variants(
    recipe: Recipe, only: tuple[str, ...] | None = None, listed: Mapping[str, Hypothesis] = HYPOTHESES
) -> Iterator[tuple[str, str, Recipe]]:
    """Every wrong recipe for a layer: name of the hypothesis, words, recipe."""
    for name, hypothesis in listed.items():
        if only is None or name in only:
            for words, changed in unbroken(hypothesis.variants(recipe)):
                yield name, words, changed


def rebuilt(recipe: Recipe, parts: Parts) -> Recipe | None:
    """The same changes on another case's recipe; None where one does not apply."""
    for name, words in parts:
        found = dict((HYPOTHESES | RARE)[name].variants(recipe)).get(words)
        if found is None:
            return None
        recipe = found
    return recipe
