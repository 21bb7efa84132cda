"""Looking behind a layer whose predecessors were not dumped: a fault there, run on to the layer that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from npunet.verify.compare import same
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.attempts import variants
from npunet.verify.diagnose.causes import CUT, Cause, Diagnosis, Evidence
from npunet.verify.diagnose.folds import kin_of, other_folds
from npunet.verify.diagnose.search import SHOWN
from npunet.verify.diagnose.wholes import WHOLES, Scene
from npunet.verify.feeds import Feeds
from npunet.verify.judge import within
from npunet.verify.results import Check

TIME_LIMIT = 8.0  # seconds


def before(feeds: Feeds, check: Check, evidence: Evidence, told: Diagnosis, deadline: float) -> Diagnosis:
    """The diagnosis of a layer, or where it explains nothing whole that of a layer before it which was not dumped.

    check    : of the layer's output; its `unseen` are tried, the nearest first, as long as patience lasts
    evidence : what the layer gave
    told     : what was found for the layer itself
    deadline : of time.perf_counter(), at which the search ends
    """
    causes, tried, cut = [], 0, told.cut
    end = min(time.perf_counter() + TIME_LIMIT, deadline)
    equal = _equal(feeds, check, evidence)
    for suspect in sorted(set(check.unseen), key=list(feeds.bundle.layers).index, reverse=True):
        for name, words, out in _wrong_outputs(feeds, check.case, suspect):
            if time.perf_counter() > end:
                cut = CUT
                break
            tried += 1
            if equal(feeds.replayed(check.case, check.layer, check.unseen, suspect, out)):
                words = f"{suspect} (not dumped): {words}"
                causes.append(Cause((name,), words, evidence.got.size, evidence.got.size, not feeds.bounded))
        if causes:
            return replace(told, causes=tuple(causes[:SHOWN]), tried=told.tried + tried, cut="")
    return replace(told, tried=told.tried + tried, cut=cut)


def _wrong_outputs(feeds: Feeds, case: str, layer: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """(hypothesis, words, output) of everything that may be wrong in a layer."""
    node, bundle = feeds.node(layer), feeds.bundle
    inputs, _ = feeds.inputs(case, layer)
    right = bundle.run_layer(layer, inputs).out
    folds, kin = other_folds(bundle, node), kin_of(bundle, node)
    for name, words, wrong in variants(
        recipes.recipe_of(node, inputs, bundle.weights, bundle.arithmetic, folds, kin)
    ):
        out = recipes.run(wrong)
        if out.shape == right.shape:
            yield name, words, np.ascontiguousarray(out, np.float32)
    for name, build in WHOLES.items():
        for words, out in build(Scene(right, inputs, {})):
            yield name, words, np.ascontiguousarray(out, np.float32)


def _equal(feeds: Feeds, check: Check, evidence: Evidence) -> Callable[[np.ndarray], bool]:
    """What an output must be to explain the port's: the same bits, or with bounds within those of the layer."""
    if not feeds.bounded:
        return lambda y: bool(same(y, evidence.got).all())

    def close(y: np.ndarray) -> bool:
        slacks = feeds.slacks(check.case, check.layer, evidence.inputs)
        found = within(feeds, check.layer, "out", evidence.got, y, evidence.inputs, slacks)
        return not found.wrong and found.unjudged < found.size

    return close
