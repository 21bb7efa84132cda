"""How good a bundle of integers is: every hypothesis as a faulty layer, and whether a case catches it.

A mutant is one hypothesis in one of its variants; an instance is a mutant in one layer. An instance is killed when the
output of some case differs, equivalent when it is proven that no input of the layer can tell it from the right one
with this network's constants. What is neither has survived, and the bundle is not good enough.

Proofs. Of what acts on single values, the layer is asked at every value at which two such functions can differ
(`probes`): at both sides of every step, which decides of two functions that never fall; of operators of single int8
elements, at all values. Of an int16 add's roundings, each of its three requantisations is asked by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.writers import replace_manifest
from npunet.integer.network import Network, Node
from npunet.verify.integer.diagnose import variants
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES
from npunet.verify.integer.probes import ELEMENTWISE, Probe, parts_of_add, probe

Progress = Callable[[int, int, str], None]
AT_ALL = "the same for every value that the layer can be given"
AT_STEPS = "the same at both sides of every step that the layer's sums can reach"
OF_PARTS = "each of the three requantisations is the same for every value that it can be given"


def score(folder: str | PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Run every mutant against a bundle, write the score into its manifest and return it.

    Returns mutants (kinds), instances, killed, equivalent, hidden (0: what is equivalent is so with this network's
    constants), survived, score (killed / (killed + survived)), and a table: one row a mutant: its operators, its
    variants in words, killed, equivalent (reason -> count), hidden, survivors, and the cases that kill it.
    Raises ValueError for a damaged bundle.
    """
    bundle = IntegerBundle(folder)
    told = progress or (lambda done, total, what: None)
    rows: dict[str, dict[str, Any]] = {}
    for number, node in enumerate(bundle.network):
        layer = list(bundle.layers)[number]
        told(number, len(bundle.layers), layer)
        for name, words, verdict, said in instances(bundle, layer, node):
            row = rows.setdefault(name, {"mutant": name, "operators": set(), "variants": set(), "killed": 0,
                                         "equivalent": {}, "hidden": [], "survived": [], "cases": set()})
            row["operators"].add(node.op)
            row["variants"].add(words)
            if verdict == "killed":
                row["killed"] += 1
                row["cases"].add(said)
            elif verdict == "equivalent":
                row["equivalent"][said] = row["equivalent"].get(said, 0) + 1
            else:
                row["survived"].append({"layer": layer, "variant": words})
    table = [{**row, **{key: sorted(row[key]) for key in ("operators", "variants", "cases")}} for row in rows.values()]
    killed, survived = sum(row["killed"] for row in table), sum(len(row["survived"]) for row in table)
    equivalent = sum(sum(row["equivalent"].values()) for row in table)
    made = {"mutants": len(table), "instances": killed + equivalent + survived, "killed": killed,
            "equivalent": equivalent, "whatever": "whatever the input, with these constants", "hidden": 0,
            "survived": survived, "score": killed / max(1, killed + survived),
            "table": sorted(table, key=lambda row: row["mutant"])}
    told(len(bundle.layers), len(bundle.layers), "done")
    replace_manifest(bundle.root, json.dumps({**bundle.manifest, "mutation_score": made}, indent=1, sort_keys=True)
                     + "\n")
    return made


def instances(bundle: IntegerBundle, layer: str, node: Node) -> Iterator[tuple[str, str, str, str]]:
    """(mutant, variant, "killed" | "equivalent" | "survived", the case or the reason) of one layer."""
    cases = [case["id"] for case in bundle.cases.values() if case["scope"] == "network" or case["id"] == layer]
    cases.sort(key=lambda case: case != layer)  # its own first, which catches most
    left: dict[tuple[str, str], None] = {}
    for number, case in enumerate(cases):
        golden = bundle.tensor(case, f"{layer}.out")
        given = Evidence(node, bundle.network, tuple(bundle.inputs(case, layer)), golden.astype(np.int64))
        for name, words, values in _mutants(given, None if number == 0 else {name for name, _ in left}):
            if number and (name, words) not in left:
                continue
            if np.array_equal(values, golden):
                left[name, words] = None
            else:
                left.pop((name, words), None)
                yield name, words, "killed", case
        if not left:
            return
    proven = Proofs(node, bundle.network, {name for name, _ in left})
    for name, words in left:
        reason = proven.reason(name, words)
        yield name, words, "equivalent" if reason else "survived", reason or ""


def _mutants(given: Evidence, names: set[str] | None) -> Iterator[tuple[str, str, np.ndarray]]:
    """(hypothesis, words, output) of the faulty forms of a layer; names : only of these hypotheses."""
    for name, hypothesis in HYPOTHESES.items():
        if hypothesis.is_for(given.node.op) and (names is None or name in names):
            for words, values in variants(hypothesis, given).items():
                yield name, words, values


class Proofs:
    """What can be proven of the faulty forms of one layer; names : of the hypotheses that matter."""

    def __init__(self, node: Node, network: Network, names: set[str]) -> None:
        self.node, self.names = node, names
        self.whole = self._differing(probe(node, network, every=True))
        parts = parts_of_add(node, network) if node.op == "add" and self.whole is None else ()
        self.parts = [self._differing(part) for part in parts]

    def _differing(self, asked: Probe | None) -> dict[tuple[str, str], bool] | None:
        """Whether each variant differs anywhere; None where that proves nothing."""
        if asked is None or not asked.complete:
            return None
        return {(name, words): bool(where.any()) for name, words, where in asked.differences(self.names)}

    def reason(self, name: str, words: str) -> str | None:
        """Why a variant gives the right integers for every input, or None."""
        of_clamps = name in ("clamp", "saturation missing")
        same = self.whole is not None and self.whole.get((name, words)) is False
        if same and (of_clamps or self.node.op != "layer_norm"):
            return AT_ALL if self.node.op in ELEMENTWISE else AT_STEPS
        if self.parts and name == "rounding profile" and all(
                part is not None and part.get((name, words)) is False for part in self.parts):
            return OF_PARTS
        if self.parts and of_clamps and self.parts[-1] is not None:
            return AT_STEPS if self.parts[-1].get((name, words)) is False else None
        return None
