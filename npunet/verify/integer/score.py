"""How good a bundle of integers is: every hypothesis as a faulty layer, and whether a case catches it.

A mutant is one hypothesis in one of its variants; an instance is a mutant in one layer. An instance is killed when the
output of some case differs, equivalent when it is proven that no input of the layer can tell it from the right one
with this network's constants (proofs). What is neither has survived, and the bundle is not good enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.writers import replace_manifest
from npunet.integer.network import Node
from npunet.verify.integer.diagnose import variants
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES
from npunet.verify.integer.proofs import Proofs

Progress = Callable[[int, int, str], None]


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

