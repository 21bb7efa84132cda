"""How good a bundle of integers is: every hypothesis as a faulty layer, and whether a case catches it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.writers import replace_manifest
from npunet.verify.integer.diagnose import variants
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES

Progress = Callable[[int, int, str], None]


def score(folder: str | PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Run every faulty layer on the golden inputs of every case, and write the score into the manifest.

    Returns {"faults": number of faulty layers, "caught": those of which some case's output differs, "first_caught_by":
    {case: number}, "missed": {layer id: [words, ...]}}. A fault that no case shows may be none: a shift of a padding
    that is symmetric, the bias of a neighbour that has the same. Raises ValueError for a damaged bundle.
    """
    bundle = IntegerBundle(folder)
    told = progress or (lambda done, total, what: None)
    caught: Counter[str] = Counter()
    missed: dict[str, list[str]] = {}
    total = 0
    for number, node in enumerate(bundle.network):
        layer = bundle.ids[node.name]
        told(number, len(bundle.layers), layer)
        open_faults: dict[str, None] | None = None
        for case in bundle.cases:
            inputs = tuple(bundle.tensor(case, "in" if name == bundle.network.input else f"{bundle.ids[name]}.out")
                           for name in node.inputs)
            golden = bundle.tensor(case, f"{layer}.out")
            made = _faulty(Evidence(node, bundle.network, inputs, golden.astype(np.int64)))
            if open_faults is None:
                open_faults = dict.fromkeys(made)
                total += len(made)
            found = [words for words in open_faults if words in made and not np.array_equal(made[words], golden)]
            caught[case] += len(found)
            for words in found:
                del open_faults[words]
            if not open_faults:
                break
        if open_faults:
            missed[layer] = list(open_faults)
    told(len(bundle.layers), len(bundle.layers), "done")
    made_score = {"faults": total, "caught": sum(caught.values()), "first_caught_by": dict(caught), "missed": missed}
    manifest = {**bundle.manifest, "mutation_score": made_score}
    replace_manifest(bundle.root, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return made_score


def _faulty(evidence: Evidence) -> dict[str, np.ndarray]:
    """The outputs of every faulty form of a layer, by words."""
    made: dict[str, np.ndarray] = {}
    for hypothesis in HYPOTHESES.values():
        if not hypothesis.ops or evidence.node.op in hypothesis.ops:
            made |= variants(hypothesis, evidence)
    return made


def text(result: dict[str, Any]) -> str:
    """The score in a few lines."""
    left = sum(map(len, result["missed"].values()))
    lines = [f"score   {result['caught']:,} of {result['faults']:,} faulty layers are caught; {left:,} give the golden "
             "integers in every case"]
    kinds = Counter(words for each in result["missed"].values() for words in each)
    lines += [f"        {count:>3} x {words}" for words, count in kinds.most_common(8)]
    return "\n".join(lines) + "\n"
