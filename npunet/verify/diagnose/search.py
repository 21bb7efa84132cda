"""diagnose(): try everything that may be wrong with a layer, and keep what the rule allows to be told."""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf

import numpy as np

from npunet.golden.bounds import output_bound
from npunet.golden.reader import Bundle
from npunet.graph import Node
from npunet.verify.compare import ordered
from npunet.verify.diagnose import fitted
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.attempts import FINE, Parts, output_of, variants
from npunet.verify.diagnose.causes import CUT, Cause, Diagnosis, Evidence, TimeIsUp
from npunet.verify.diagnose.folds import kin_of, other_folds
from npunet.verify.diagnose.limited import InAPart
from npunet.verify.diagnose.patterns import PATTERNS, Guess, Pattern, Sight
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.regions import fallback, region
from npunet.verify.diagnose.registry import HYPOTHESES, RARE
from npunet.verify.diagnose.rule import NOTHING, Score
from npunet.verify.diagnose.shelter import sheltered
from npunet.verify.diagnose.trial import Trial
from npunet.verify.diagnose.wholes import WHOLES, Scene

SHOWN = 4
FEW_ULP = 16
NORMS = ("layer_norm", "batch_norm_inference", "softmax")
TIME_LIMIT = 6.0  # seconds for pairs
# Told after what says how it came about, the last of them last.
GENERAL = ("elements_permuted", "stale_part", "stale_run", "stale_buffer", "planes_of_others", "channels_mixed",
           "function_of_input", "function_by_channel", "function_of_addend", "function_of_output")
PAIRS_CUT = "not every pair of causes was tried"
OTHER_ROUNDING = "only the rounding differs: an order of summation or a precision that is not on the list"


def diagnose(
    bundle: Bundle, node: Node, evidence: list[Evidence], bounded: bool = False, deadline: float = inf,
    of_sums: bool = False,
) -> Diagnosis:
    """Find what gives the port's output of a layer.

    evidence : cases, the one that shows the fault best first
    bounded  : the port does not claim the declared order, so agreement up to rounding is all that can be had
    deadline : of time.perf_counter(), at which the search ends with what it has
    of_sums  : the evidence is a convolution's accumulator: the output, with the bias, is right
    """
    folds, kin = other_folds(bundle, node), kin_of(bundle, node)
    layer = next(key for key, record in bundle.layers.items() if record["name"] == node.name)
    trials = []
    for piece in evidence:
        recipe = recipes.recipe_of(node, piece.inputs, bundle.weights, bundle.arithmetic, folds, kin)
        made = bundle.run_layer(layer, piece.inputs)
        if of_sums and made.acc is not None:
            trials.append(Trial(piece, recipe.but(bias=None), made.acc))
        else:
            trials.append(Trial(piece, recipe, made.out))
    found = _Search(trials, [_sight(trial, node, bundle) for trial in trials], deadline)
    causes = found.run()
    unchanged = sum(trial.unchanged for trial in trials)
    if not causes:
        causes = [fallback(~trials[0].equal, unchanged, found.total, found.tried)]
    reader = evidence[0].reader
    if reader and all(piece.reader for piece in evidence if piece.cases):
        told = f" (the port goes on with the right numbers: {reader}, which reads them, is right)"
        causes = [replace(cause, words=cause.words + told) for cause in causes]
    cut = "" if any(cause.whole and cause.found for cause in causes) else found.cut
    return Diagnosis(node.name, tuple(causes[:SHOWN]), unchanged, found.total, found.tried, cut)


def _sight(trial: Trial, node: Node, bundle: Bundle) -> Sight:
    return Sight(trial.recipe, trial.right, trial.evidence, ~trial.equal, node, bundle)


class _Search(InAPart):
    """The stages of a search, in order; the first that explains everything ends it.

    cut : what was left out for want of time, in words
    """

    cut = ""

    def run(self) -> list[Cause]:
        """Causes that explain everything, else those that explain most of what the reference does not."""
        stages = [
            lambda: self._patterns(0),
            self._sums if self.summed else self._recipes,
            self._wholes,
            lambda: self._patterns(1),
            self._fitted,
            self._limited,
            lambda: self._patterns(2),
            self._limited,
            self._pairs,
            self._rounding,
            lambda: self._patterns(3),
        ]
        for stage in stages:
            try:
                with sheltered():
                    stage()
            except TimeIsUp:
                self.cut = CUT
            if self.causes or self.cut == CUT:
                if not self.causes:
                    break
                alone = [cause for cause in self.causes if len(cause.names) == 1 and cause.exact]
                if alone:
                    return sorted(alone, key=_generality)
                return sorted(self.causes, key=lambda cause: (not cause.exact, len(cause.names), _generality(cause)))
        most = max((cause.explained for cause in self.partial if len(cause.names) == 1), default=0)
        kept = [cause for cause in self.partial if len(cause.names) == 1 or cause.explained > most]
        return sorted(kept, key=lambda cause: (-cause.explained, len(cause.names)))[:2]

    def _recipes(self) -> None:
        for name, words, recipe in (*variants(self.first.recipe), *variants(self.first.recipe, listed=RARE)):
            self._try(((name, words),), recipe)

    def _sums(self) -> None:
        """Convolutions: what fits up to rounding first, then with every way of rounding."""
        first = self.first.recipe
        fitting: list[tuple[Parts, Recipe]] = [((), first)]
        for name, words, recipe in (*variants(first), *variants(first, listed=RARE)):
            if name not in FINE and self._fits(((name, words),), recipe):
                fitting.append((((name, words),), recipe))
        self._exactly(fitting)

    def _wholes(self) -> None:
        """Outputs that are right but for where they stand."""
        for name, build in WHOLES.items():
            listed = [
                dict(build(Scene(trial.right, trial.evidence.inputs, trial.evidence.others))) for trial in self.trials
            ]
            for words in listed[0]:
                self._next()
                total = NOTHING
                for trial, outputs in zip(self.trials, listed, strict=True):
                    total += trial.judge(outputs.get(words, trial.right))
                    if trial is self.first:
                        self._may_be_a_part(((name, words),), outputs[words], total)
                    if total.lost or not total.gained:
                        break
                if self.first.sums_agree(None, exact=True) or self._spoilt_alike(name, words):
                    self._keep((name,), words, total, True)

    def _patterns(self, rank: int) -> None:
        for pattern in PATTERNS.values():
            if pattern.rank == rank:
                with sheltered():
                    self._pattern(pattern)

    def _pattern(self, pattern: Pattern) -> None:
        """What a pattern sees in the first case; in the others it may be with other numbers."""
        fitting: list[tuple[Parts, Recipe]] = []
        with np.errstate(all="ignore"):
            for guess in pattern.guesses(self.sights[0]):
                name = guess.name or pattern.name
                if guess.recipe is not None and guess.recipe.summed:
                    self.seen_by[(name, guess.words),] = pattern
                    if guess.fixed:
                        self.fixed.add(((name, guess.words),))
                    if guess.recipe.order.changes_sums:
                        self._next()
                        fits = self.first.sampled(guess.recipe)
                    else:
                        fits = self._fits(((name, guess.words),), guess.recipe)
                    if fits:
                        fitting.append((((name, guess.words),), guess.recipe))
                    continue
                self._next()
                y = output_of(guess)
                if y.shape != self.first.got.shape:
                    continue
                total = self.first.judge(y, guess.allowance)
                if guess.allowance is None:
                    self._may_be_a_part(((name, guess.words),), y, total, guess.recipe, guess.of_sums)
                if not total.told:
                    continue
                for trial, sight in zip(self.trials[1:], self.sights[1:], strict=True):
                    if trial.equal.all():  # there is nothing to see
                        total += Score(trial.size, 0, 0, 0)
                        continue
                    scores = [trial.judge(output_of(other), other.allowance) for other in _like(guess, pattern, sight)]
                    blank = Score(trial.size, trial.size - trial.unchanged, 0, 0)
                    total += max(scores, key=lambda score: (score.told, score.gained), default=blank)
                if guess.of_sums or self.first.sums_agree(guess.sums, guess.allowance is None) or (
                    guess.sums is None and self._same_of_sums(pattern, guess)
                ):
                    self._keep((name,), guess.words, total, guess.allowance is None)
            self._exactly(fitting)

    def _fitted(self) -> None:
        """Numbers that the output suggests."""
        first = self.first
        if self.summed:
            fits = [
                (((name, words),), recipe)
                for name, words, recipe in fitted.of_sums(
                    first.recipe, first.right, first.got, self.sights[0].bundle.weights)
            ]
            self._exactly([fit for fit in fits if first.near(fit[1]).told])
        else:
            for name, words, recipe in fitted.of_elements(first.recipe, first.right, first.got):
                self._try(((name, words),), recipe)

    def _rounding(self) -> None:
        """What is a little off everywhere: sums in an order that is not listed, elements by a few units."""
        if self.summed:
            scores = [trial.near_everywhere(trial.recipe) for trial in self.trials]
            finite = all(
                bool((np.isfinite(trial.got) == np.isfinite(trial.right)).all()) for trial in self.trials
            )
            if finite and not any(score.missed for score in scores):
                self.causes.append(Cause(("rounding",), OTHER_ROUNDING, self.total, self.total, False))
            return
        most = 0
        for trial in self.trials:
            if not (np.isfinite(trial.got) & np.isfinite(trial.right) | trial.equal).all():
                return
            ulp = np.where(trial.equal, 0, np.abs(ordered(trial.got) - ordered(trial.right)))
            most = max(most, int(ulp.max(initial=0)))
        if 0 < most <= FEW_ULP * (4 if self.first.recipe.op == "softmax" else 1):  # three operations more
            where = region(~self.first.equal)
            words = f"only the rounding differs, by at most {most} ULP: another order, precision or exponential"
            words += f" (in {where})" if where else ""
            self.causes.append(Cause(("rounding",), words, self.total, self.total, False))
        elif all(_within_bound(trial, sight) for trial, sight in zip(self.trials, self.sights, strict=True)):
            words = "only the rounding differs: every element is within the derived bound of its layer"
            self.causes.append(Cause(("rounding",), words, self.total, self.total, False))

    def _pairs(self) -> None:
        """Two things at once, bit for bit, as long as patience lasts."""
        start, order = time.perf_counter(), list(HYPOTHESES)
        fitting: list[tuple[Parts, Recipe]] = []
        for name, words, recipe in variants(self.first.recipe):
            if name in FINE:
                continue
            for other, said, both in variants(recipe):
                if (other in FINE and self.summed) or order.index(other) <= order.index(name):
                    continue
                if time.perf_counter() - start > TIME_LIMIT:
                    self.cut = PAIRS_CUT
                    break
                self._next()
                if both.summed:
                    if self.first.near(both).whole:
                        fitting.append((((name, words), (other, said)), both))
                elif not self.summed:
                    self._try(((name, words), (other, said)), both)
        self._exactly(fitting[:8], singly=False)


def _generality(cause: Cause) -> int:
    """0 for a cause that says how it came about, more for one that only describes what is there."""
    return GENERAL.index(cause.names[0]) + 1 if cause.names[0] in GENERAL else 0


def _within_bound(trial: Trial, sight: Sight) -> bool:
    """Whether a right port of another order or precision might give this output of a norm or a softmax."""
    if sight.node.op not in NORMS:
        return False
    bound = output_bound(sight.node, sight.inputs, [np.zeros(x.shape) for x in sight.inputs], sight.bundle.weights)
    with np.errstate(all="ignore"):
        off = np.abs(trial.got.astype(np.float64) - trial.right)
    return bool((trial.equal | (off <= bound)).all())


def _like(guess: Guess, pattern: Pattern, sight: Sight) -> list[Guess]:
    """What a pattern sees in another case: the same cause if it says so, the same words if it has them, else all."""
    if guess.again is not None:
        return [guess.again(sight)]
    guesses = list(pattern.guesses(sight))
    return [other for other in guesses if other.words == guess.words] or guesses
