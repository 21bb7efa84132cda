"""diagnose(): run the hypotheses, single and in pairs, and keep those that give what the port gave."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from npunet.golden.reader import Bundle
from npunet.graph import Node
from npunet.ops.table import CONVOLUTIONS
from npunet.verify.compare import ordered, same
from npunet.verify.diagnose import fitted
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.causes import Cause, Diagnosis, Evidence
from npunet.verify.diagnose.folds import kin_of, other_folds
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import HYPOTHESES
from npunet.verify.diagnose.wholes import WHOLES, Scene

# These change how sums are rounded and nothing else: they are tried on everything that fits up to rounding.
FINE = (
    "multiply_add",
    "order_of_walk",
    "order_of_groups",
    "sum_precision",
    "flush_to_zero",
    "bias_first",
    "subnormals_flushed",
)
SAMPLE = 48  # positions that differ, and as many that do not
NEARLY = 0.95  # share of elements near enough for a recipe that rounds its output: the rest may round the other way
SHOWN = 4
FEW_ULP = 16
LITTLE = 0.02  # of all elements: what explains no more than chance would is not told
PATIENCE = 6.0  # seconds for pairs
OTHER_ROUNDING = "only the rounding differs: an order of summation or a precision that is not on the list"
Parts = tuple[tuple[str, str], ...]  # (hypothesis, words) of what was changed


class _Case:
    """One piece of evidence with the layer's recipe and its right output."""

    def __init__(self, evidence: Evidence, recipe: Recipe, right: np.ndarray) -> None:
        self.evidence, self.recipe, self.right, self.got = evidence, recipe, right, evidence.got
        self.size = self.got.size
        equal = same(self.got, right)
        self.unchanged = int(np.count_nonzero(equal))
        rows = equal.reshape(-1, equal.shape[-1]).all(1)  # by position
        self.places = np.concatenate([_spread(np.flatnonzero(~rows)), _spread(np.flatnonzero(rows))])
        self.rows = self.got.reshape(-1, self.got.shape[-1])[self.places]

    def near(self, recipe: Recipe) -> float:
        """Share of the sampled elements that a summed recipe gives up to rounding."""
        y, tolerance = recipes.rough(recipe, self.places)
        with np.errstate(all="ignore"):
            judged = np.isfinite(y) & np.isfinite(self.rows) & np.isfinite(tolerance)
            fits = np.abs(y - self.rows) <= tolerance
        return float(np.count_nonzero(fits & judged)) / max(1, int(np.count_nonzero(judged)))

    def sampled(self, recipe: Recipe) -> bool:
        """Whether a summed recipe gives every sampled element bit for bit."""
        return bool(same(recipes.run(recipe, self.places), self.rows).all())


def _spread(places: np.ndarray) -> np.ndarray:
    """At most SAMPLE of the places, both ends among them."""
    if len(places) <= SAMPLE:
        return places
    return places[np.linspace(0, len(places) - 1, SAMPLE).round().astype(int)]


def diagnose(bundle: Bundle, node: Node, evidence: list[Evidence], bounded: bool = False) -> Diagnosis:
    """Find what gives the port's output of a layer.

    evidence : cases, the one that shows the fault best first
    bounded  : the port does not claim the declared order, so agreement up to rounding is all that can be had
    """
    folds, kin = other_folds(bundle, node), kin_of(bundle, node)
    cases = []
    for piece in evidence:
        recipe = recipes.recipe_of(node, piece.inputs, bundle.weights, bundle.arithmetic, folds, kin)
        right = bundle.run_layer(
            next(key for key, layer in bundle.layers.items() if layer["name"] == node.name), piece.inputs
        ).out
        cases.append(_Case(piece, recipe, right))
    found = _Search(cases, bounded)
    causes = found.run()
    total = sum(case.size for case in cases)
    return Diagnosis(node.name, tuple(causes[:SHOWN]), sum(case.unchanged for case in cases), total, found.tried)


class _Search:
    def __init__(self, cases: list[_Case], bounded: bool) -> None:
        self.cases, self.bounded, self.tried = cases, bounded, 0
        self.total = sum(case.size for case in cases)
        self.causes: list[Cause] = []
        self.partial: list[Cause] = []

    def run(self) -> list[Cause]:
        """Causes that explain everything, else the best partial ones."""
        first = self.cases[0]
        if first.recipe.op in CONVOLUTIONS:
            self._summed()
        else:
            for name, words, recipe in variants(first.recipe):
                self._try(((name, words),), recipe)
        self._wholes()
        if not self.causes and first.recipe.op not in CONVOLUTIONS:
            for name, words, recipe in fitted.of_elements(first.recipe, first.right, first.got):
                self._try(((name, words),), recipe)
        if not self.causes and first.recipe.op == "batch_norm_inference":
            self._affine()
        if not self.causes:
            self._pairs()
        if not self.causes and first.recipe.op in CONVOLUTIONS:
            fits = fitted.of_sums(first.recipe, first.right, first.got)
            self._exactly([(((name, words),), recipe) for name, words, recipe in fits if first.near(recipe) == 1])
        if not self.causes:
            self._rounding()
        if self.causes:
            alone = [cause for cause in self.causes if len(cause.names) == 1 and cause.exact]  # no pair adds to these
            return alone or sorted(self.causes, key=lambda cause: (not cause.exact, len(cause.names)))
        least = sum(case.unchanged for case in self.cases)
        enough = least + LITTLE * self.total
        better = [cause for cause in self.partial if cause.explained > enough or not cause.exact]
        return sorted(better, key=lambda cause: (-cause.explained, len(cause.names)))[:2]

    def _rounding(self) -> None:
        """Elementwise operators that are a few units in the last place off everywhere."""
        most = 0
        for case in self.cases:
            equal = same(case.got, case.right)
            if not (np.isfinite(case.got) & np.isfinite(case.right) | equal).all():
                return
            most = max(most, int(np.where(equal, 0, np.abs(ordered(case.got) - ordered(case.right))).max(initial=0)))
        if 0 < most <= FEW_ULP and self.cases[0].recipe.op not in CONVOLUTIONS:
            words = f"only the rounding differs, by at most {most} ULP: another order, precision or exponential"
            self.causes.append(Cause(("rounding",), words, self.total, self.total, False))

    def _affine(self) -> None:
        """A batch norm that is a line in every channel, but another one."""
        with np.errstate(all="ignore"):
            words, explained = fitted.affine(self.cases[0].recipe, self.cases[0].got)
        if explained == self.cases[0].size:
            self.causes.append(Cause(("scale_shift_fitted",), words, self.total, self.total, False))

    def _summed(self) -> None:
        """Convolutions: what fits up to rounding first, then with every way of rounding."""
        first = self.cases[0]
        coarse = [((), first.recipe), *(((v[:2],), v[2]) for v in variants(first.recipe) if v[0] not in FINE)]
        fitting = []
        for parts, recipe in coarse:
            self.tried += 1
            near = first.near(recipe)
            if near == 1 or ((recipe.after or recipe.middle) and near > NEARLY):
                fitting.append((parts, recipe))
            elif parts:
                self.partial.append(Cause((parts[0][0],), parts[0][1], int(near * self.total), self.total, False))
        self._exactly(fitting)

    def _exactly(self, fitting: list[tuple[Parts, Recipe]]) -> None:
        """Bit by bit: the recipes themselves, then with another way of rounding; if none is exact, as near ones."""
        first = self.cases[0]
        for parts, recipe in fitting:
            if parts and first.sampled(recipe):
                self._try(parts, recipe)
        if any(cause.exact for cause in self.causes):
            return
        for parts, recipe in fitting:
            for name, words, changed in variants(recipe, FINE):
                self.tried += 1
                if first.sampled(changed):
                    self._try((*parts, (name, words)), changed)
        if self.causes or not fitting:
            return
        if not fitting[0][0]:
            self.partial.append(Cause(("rounding",), OTHER_ROUNDING, self.total, self.total, False))
        for parts, recipe in fitting:
            if parts and first.near(recipe) == 1:
                self.causes.append(Cause(_names(parts), _words(parts), self.total, self.total, False))

    def _try(self, parts: Parts, recipe: Recipe) -> None:
        """Everywhere and in every case."""
        self.tried += 1
        explained = 0
        for number, case in enumerate(self.cases):
            changed = recipe if number == 0 else self._again(case, recipe, parts)
            y = case.right if changed is None else recipes.run(changed)
            if y.shape != case.got.shape:
                return
            explained += int(np.count_nonzero(same(y.astype(np.float32), case.got)))
            if number == 0 and explained <= case.unchanged and explained < case.size:
                return
        cause = Cause(_names(parts), _words(parts), explained, self.total, True)
        (self.causes if cause.whole else self.partial).append(cause)

    def _again(self, case: _Case, recipe: Recipe, parts: Parts) -> Recipe | None:
        """What was tried on the first case, on another; a recipe with fitted numbers only gets other inputs."""
        if parts[0][0] not in HYPOTHESES:
            return None if parts[0][0] == "gain_fitted" else recipe.but(inputs=case.recipe.inputs)
        return rebuilt(case.recipe, parts)

    def _wholes(self) -> None:
        for name, build in WHOLES.items():
            outputs = [
                dict(build(Scene(case.right, case.evidence.inputs, case.evidence.others))) for case in self.cases
            ]
            for words, y in outputs[0].items():
                self.tried += 1
                explained = 0
                for case, listed in zip(self.cases, outputs, strict=True):
                    explained += int(
                        np.count_nonzero(same(np.ascontiguousarray(listed.get(words, case.right)), case.got))
                    )
                    if y is listed.get(words) and case is self.cases[0] and explained <= case.unchanged:
                        break
                else:
                    cause = Cause((name,), words, explained, self.total, True)
                    (self.causes if cause.whole else self.partial).append(cause)

    def _pairs(self) -> None:
        """Two things at once, as long as patience lasts."""
        first, start = self.cases[0], time.perf_counter()
        singles = [v for v in variants(first.recipe) if v[0] not in FINE]
        fitting = []
        order = list(HYPOTHESES)
        for name, words, recipe in singles:
            for other, said, both in variants(recipe):
                if (other in FINE and first.recipe.op in CONVOLUTIONS) or order.index(other) <= order.index(name):
                    continue
                if time.perf_counter() - start > PATIENCE:
                    break
                self.tried += 1
                if both.summed:
                    if first.near(both) == 1:
                        fitting.append((((name, words), (other, said)), both))
                elif not both.summed and first.recipe.op not in CONVOLUTIONS:
                    self._try(((name, words), (other, said)), both)
        if fitting:
            self._exactly(fitting[:8])


def _names(parts: Parts) -> tuple[str, ...]:
    return tuple(name for name, _ in parts)


def _words(parts: Parts) -> str:
    return " and ".join(words for _, words in parts)


def variants(recipe: Recipe, only: tuple[str, ...] | None = None) -> Iterator[tuple[str, str, Recipe]]:
    """Every wrong recipe for a layer: name of the hypothesis, words, recipe."""
    for name, hypothesis in HYPOTHESES.items():
        if only is None or name in only:
            for words, changed in hypothesis.variants(recipe):
                yield name, words, changed


def rebuilt(recipe: Recipe, parts: Parts) -> Recipe | None:
    """The same changes on another case's recipe; None where one does not apply."""
    for name, words in parts:
        found = dict(HYPOTHESES[name].variants(recipe)).get(words)
        if found is None:
            return None
        recipe = found
    return recipe
