"""The mutation score of a bundle: every faulty kernel that we know, in every layer, and the case that catches it.

A mutant is one hypothesis of npunet.verify.diagnose in one of its variants; an instance is a mutant in one layer. An
instance is killed when a case of the bundle has an output that the mutant changes, equivalent when equivalence shows
that no input can tell it from the right kernel whatever the weights are, hidden when none can because of the weights
that this network happens to have (a bias of 0). What is none of these has survived, and the bundle is not good enough.
The score is that of what the network's weights can show; what is hidden from the bundle is counted beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden import manifest
from npunet.golden.reader import Bundle
from npunet.golden.writers import replace_manifest
from npunet.graph import Node
from npunet.verify import equivalence
from npunet.verify.compare import same
from npunet.verify.diagnose import WHOLES, recipe
from npunet.verify.diagnose.attempts import variants
from npunet.verify.diagnose.folds import kin_of, other_folds
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.wholes import Scene

SAMPLE = 64
WHOLE = (
    "layout_swapped",
    "output_shifted",
    "output_mirrored",
    "output_part_unwritten",
    "output_unwritten",
    "bytes_swapped",
)
Progress = Callable[[int, int, str], None]


class _Material:
    """One case of a layer: what it reads and what is right."""

    def __init__(self, bundle: Bundle, case: str, node: Node, layer: str, folds: tuple[dict, dict]) -> None:
        own = layer if bundle.cases[case]["scope"] == "network" else case  # a case may be that of an equal layer
        self.case = case
        self.inputs = bundle.inputs(case, own)
        self.right = bundle.tensor(case, f"{own}.out")
        self.recipe = recipe.recipe_of(node, self.inputs, bundle.weights, bundle.arithmetic, *folds)
        acc = f"{own}.acc"
        self.acc = bundle.tensor(case, acc) if f"{case}/{acc}" in bundle.tensors else None
        count = recipe.positions(self.recipe)
        self.places = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(int))
        self.rows = self.right.reshape(-1, self.right.shape[-1])[self.places]

    def kills(self, mutant: Recipe) -> bool:
        """Whether the mutant gives anything else than what is right."""
        if mutant.summed:
            y, tolerance = recipe.rough(mutant, self.places)
            with np.errstate(all="ignore"):
                if (
                    not mutant.after
                    and (np.isfinite(y) & np.isfinite(self.rows) & (np.abs(y - self.rows) > tolerance)).any()
                ):
                    return True
            if not same(np.ascontiguousarray(recipe.run(mutant, self.places), np.float32), self.rows).all():
                return True
        if mutant.summed and self._changes_sum(mutant):
            return True
        y = recipe.run(mutant)
        return y.shape != self.right.shape or not same(np.ascontiguousarray(y, np.float32), self.right).all()

    def _changes_sum(self, mutant: Recipe) -> bool:
        """Whether what a convolution has before its bias is another; a bundle holds that too."""
        if self.acc is None or mutant.when == "first":
            return False
        sums = recipe.run(mutant.but(bias=None, after=()))
        return not same(np.ascontiguousarray(sums, np.float32), self.acc).all()


def score(folder: str | PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Run every mutant against a bundle, write the score into its manifest and return it.

    Returns mutants (kinds), instances, killed, equivalent, hidden, survived, score (killed / (killed + survived)), and
    a table: one row a mutant: its variants in words, layers, killed, equivalent (reason -> count), hidden (layer,
    variant, why), survivors, and the cases that kill it.
    """
    bundle = Bundle(folder)
    rows: dict[str, dict[str, Any]] = {}
    layers = list(bundle.layers.values())
    for number, layer in enumerate(layers):
        if progress:
            progress(number, len(layers), layer["id"])
        for name, words, verdict, said in instances(bundle, layer):
            row = rows.setdefault(
                name,
                {
                    "mutant": name,
                    "operators": set(),
                    "variants": set(),
                    "killed": 0,
                    "equivalent": {},
                    "hidden": [],
                    "survived": [],
                    "cases": set(),
                },
            )
            row["operators"].add(layer["operator"])
            row["variants"].add(words)
            if verdict == "killed":
                row["killed"] += 1
                row["cases"].add(said)
            elif verdict == "equivalent":
                row["equivalent"][said] = row["equivalent"].get(said, 0) + 1
            elif verdict == "hidden":
                row["hidden"].append({"layer": layer["id"], "variant": words, "because": said})
            else:
                row["survived"].append({"layer": layer["id"], "variant": words})
    table = [{**row, **{key: sorted(row[key]) for key in ("operators", "variants", "cases")}} for row in rows.values()]
    killed = sum(row["killed"] for row in table)
    equivalent = sum(sum(row["equivalent"].values()) for row in table)
    hidden, survived = (sum(len(row[kind]) for row in table) for kind in ("hidden", "survived"))
    told = {
        "mutants": len(table),
        "instances": killed + equivalent + hidden + survived,
        "killed": killed,
        "equivalent": equivalent,
        "hidden": hidden,
        "survived": survived,
        "score": killed / max(1, killed + survived),
        "table": sorted(table, key=lambda row: row["mutant"]),
    }
    bundle.manifest["mutation_score"] = told
    manifest.check(bundle.manifest)
    replace_manifest(Path(folder), manifest.dumps(bundle.manifest))
    if progress:
        progress(len(layers), len(layers), "done")
    return told


def instances(bundle: Bundle, layer: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(mutant, variant, "killed" | "equivalent" | "hidden" | "survived", the case or the reason) of one layer."""
    node = bundle.graph[layer["name"]]
    folds = other_folds(bundle, node), kin_of(bundle, node)
    cases = [layer["case"]] if layer["case"] else []
    cases += [key for key, case in bundle.cases.items() if case["scope"] == "network"]
    material: dict[str, _Material] = {}

    def at(number: int) -> _Material:
        case = cases[number]
        if case not in material:
            material[case] = _Material(bundle, case, node, layer["id"], folds)
        return material[case]

    first = at(0)
    anyhow = equivalence.AnyWeights(first.recipe)
    for name, words, mutant in variants(first.recipe):
        reason = anyhow.equivalent(name, words)
        if reason:
            yield name, words, "equivalent", reason
            continue
        for number in range(len(cases)):
            here = at(number)
            changed = (
                mutant if number == 0 else {said: other for _, said, other in variants(here.recipe, (name,))}.get(words)
            )
            if changed is not None and here.kills(changed):
                yield name, words, "killed", here.case
                break
        else:
            reason = equivalence.hidden(name, words, first.recipe, mutant)
            yield name, words, "hidden" if reason else "survived", reason or ""
    for name in WHOLE:
        for words, y in WHOLES[name](Scene(first.right, [], {})):
            reason = equivalence.proof_of_whole(name, words, first.recipe, first.right.shape)
            if reason:
                yield name, words, "equivalent", reason
                continue
            if not same(np.ascontiguousarray(y), first.right).all():
                yield name, words, "killed", first.case
                continue

            def moved(here: _Material, name: str = name, words: str = words) -> np.ndarray:
                return dict(WHOLES[name](Scene(here.right, [], {}))).get(words, here.right)

            others = (at(number) for number in range(1, len(cases)))
            kills = (here.case for here in others if not same(np.ascontiguousarray(moved(here)), here.right).all())
            killer = next(kills, None)
            yield name, words, "killed" if killer else "survived", killer or ""
