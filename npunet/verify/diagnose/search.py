"""diagnose(): run the hypotheses, single and in pairs, and keep those that give what the port gave."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from npunet import lower
from npunet.golden.execute import CONVOLUTIONS, split_bias
from npunet.golden.reader import Bundle
from npunet.graph import Graph, Node
from npunet.model import UNet
from npunet.verify.compare import same
from npunet.verify.diagnose import recipe as recipes
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
PATIENCE = 6.0  # seconds for pairs
OTHER_ROUNDING = "only the rounding differs: an order of summation or a precision that is not on the list"
Parts = tuple[tuple[str, str], ...]  # (hypothesis, words) of what was changed


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a layer gave in one case.

    inputs : what it read, (N, H, W, C) each
    got    : the port's output
    others : the port's other outputs in this case, by layer name
    """

    case: str
    inputs: list[np.ndarray]
    got: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """One explanation.

    names     : hypotheses, one or two
    words     : the explanation
    explained : elements of the port's output that it gives, bit for bit or (exact False) up to rounding
    total     : elements looked at
    """

    names: tuple[str, ...]
    words: str
    explained: int
    total: int
    exact: bool

    @property
    def whole(self) -> bool:
        """Whether it explains every element."""
        return self.explained == self.total


@dataclass(frozen=True)
class Diagnosis:
    """What was found for a layer: the best explanation first, others that explain as much after it.

    unchanged : elements that the reference itself gives, of the total of the causes
    tried     : recipes and outputs that were compared
    """

    layer: str
    causes: tuple[Cause, ...]
    unchanged: int
    total: int
    tried: int


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
    folds = other_folds(bundle, node)
    cases = []
    for piece in evidence:
        recipe = recipes.recipe_of(node, piece.inputs, bundle.weights, bundle.arithmetic, folds)
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
        if not self.causes:
            self._pairs()
        if self.causes:
            return sorted(self.causes, key=lambda cause: (not cause.exact, len(cause.names)))
        least = sum(case.unchanged for case in self.cases)
        better = [cause for cause in self.partial if cause.explained > least or not cause.exact]
        return sorted(better, key=lambda cause: (-cause.explained, len(cause.names)))[:2]

    def _summed(self) -> None:
        """Convolutions: what fits up to rounding first, then with every way of rounding."""
        first = self.cases[0]
        coarse = [((), first.recipe), *(((v[:2],), v[2]) for v in variants(first.recipe) if v[0] not in FINE)]
        fitting = []
        for parts, recipe in coarse:
            self.tried += 1
            near = first.near(recipe)
            if near == 1 or (recipe.after and near > NEARLY):
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
            changed = recipe if number == 0 else rebuilt(case.recipe, parts)
            y = case.right if changed is None else recipes.run(changed)
            if y.shape != case.got.shape:
                return
            explained += int(np.count_nonzero(same(y.astype(np.float32), case.got)))
            if number == 0 and explained <= case.unchanged and explained < case.size:
                return
        cause = Cause(_names(parts), _words(parts), explained, self.total, True)
        (self.causes if cause.whole else self.partial).append(cause)

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


def other_folds(bundle: Bundle, node: Node) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The layer's kernel and bias as batch norm folded by another rule gives them; empty where nothing was folded."""
    record = next(layer for layer in bundle.layers.values() if layer["name"] == node.name)
    if not record["folded"] or bundle.manifest["profile"]["level"] != "deploy":
        return {}
    try:
        model = UNet.load(bundle.root / bundle.manifest["model"]["file"])
        trained = model.sizes.graph(tuple(bundle.manifest["model"]["input_shape"][:2]))
    except (ValueError, OSError):
        return {}
    folds = {}
    for words, eps in (
        ("batch norm folded without eps", 0.0),
        ("batch norm folded with eps 1e-5", 1e-5),
        ("batch norm folded with eps 1e-2", 1e-2),
    ):
        folds[words] = _folded(
            trained, model.weights, node, lambda norm, eps=eps: replace(norm, attrs={**norm.attrs, "eps": eps})
        )
    weights = dict(model.weights)
    norm = next(n for n in trained if n.name == record["folded"][-1])
    kernels, bias = split_bias(next(n for n in trained if n.name == node.name), weights)
    plain = np.zeros(node.shape[2], np.float32) if bias is None else bias
    folds["batch norm not folded in at all"] = (weights[kernels[-1]], plain)
    gamma, beta, mean, var = (weights[name].astype(np.float64) for name in norm.weights)
    scale = gamma / np.sqrt(var + norm.attrs["eps"])
    folds["batch norm folded in float64, rounded once"] = (
        (weights[kernels[-1]] * scale).astype(np.float32),
        (beta + (plain - mean) * scale).astype(np.float32),
    )
    folds["batch norm folded into the kernel alone"] = (bundle.weights[node.weights[-2]], plain)
    folds["batch norm folded into the bias alone"] = (weights[kernels[-1]], bundle.weights[node.weights[-1]])
    return folds


def _folded(
    graph: Graph, weights: Mapping[str, np.ndarray], node: Node, change
) -> tuple[np.ndarray, np.ndarray | None]:
    nodes = tuple(change(n) if n.op == "batch_norm_inference" else n for n in graph)
    with np.errstate(all="ignore"):
        deployed, lowered = lower.deploy(replace(graph, nodes=nodes), weights)
    kernels, bias = split_bias(deployed[node.name], lowered)
    return lowered[kernels[-1]], bias
