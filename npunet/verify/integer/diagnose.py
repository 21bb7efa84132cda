"""Which hypotheses reproduce what a port made of a layer: every element of every case of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

import numpy as np

from npunet.verify.diagnose.causes import CUT, TimeIsUp, check_time
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES, RARE
from npunet.verify.integer.hypotheses.registry import Hypothesis
from npunet.verify.integer.parts import Shown, part

ELEMENTWISE = ("rescale", "leaky_relu", "table")
RUN_ERRORS = (ValueError, IndexError, OverflowError)  # of integers with which an operator cannot run at all
Fit = Callable[[Sequence[Evidence]], Iterator[tuple[str, Callable[[Evidence], np.ndarray]]]]
Search = Callable[[Sequence[Evidence], float], tuple[list[tuple[str, str]], int]]  # (words, where), how many were tried


def diagnose(evidence: Sequence[Evidence], fits: Mapping[str, Fit], deadline: float = inf,
             search: Search | None = None,
             first: Mapping[str, Fit] | None = None) -> tuple[list[tuple[str, str]], int, str]:
    """Hypothesis and words of every cause, how many were tried, and what was cut for want of time ("" if nothing).

    evidence : of every case, one that is wrong first. Nothing is told that leaves one element unexplained
    fits     : what may be read off the output, asked where no hypothesis explains it
    first    : of these, those that are asked before what explains a part of the output alone
    search   : of a change that no hypothesis is about, asked before the fits
    deadline : of time.perf_counter(), at which the search ends with what it has

    What explains everything comes before what does so in a part of the output.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    tried = 0
    try:
        for listed in (HYPOTHESES, RARE):
            for hypothesis in listed.values():
                if hypothesis.is_for(evidence[0].node.op):
                    told, count = _explaining(hypothesis, evidence, deadline)
                    tried += count
                    for words, where in told:
                        found.setdefault(where, []).append((hypothesis.name, words + where))
            if "" in found:
                return found[""], tried, ""
        changes, count = search(evidence, deadline) if search else ([], 0)
        tried += count
        whole = [("formula", words) for words, where in changes if not where]
        if whole:
            return whole, tried, ""
        read, count = _read_off(first or {}, evidence, deadline)
        tried += count
        if read:
            return read, tried, ""
        if found:
            return next(iter(found.values())), tried, ""
        if changes:
            return [("formula", words + where) for words, where in changes], tried, ""
        read, count = _read_off(fits, evidence, deadline)
        return read, tried + count, ""
    except TimeIsUp:
        causes = next(iter(found.values()), [])
        return causes, tried, "" if causes else CUT


def _read_off(fits: Mapping[str, Fit], evidence: Sequence[Evidence],
              deadline: float) -> tuple[list[tuple[str, str]], int]:
    """The first thing read off the output that gives all of it, and how many were tried."""
    tried = 0
    for name, fit in fits.items():
        for words, apply in fit(evidence):
            check_time(deadline)
            tried += 1
            if all(np.array_equal(apply(each), each.got) for each in evidence):
                return [(name, words)], tried
    return [], tried


def _explaining(hypothesis: Hypothesis, evidence: Sequence[Evidence],
                deadline: float) -> tuple[list[tuple[str, str]], int]:
    """The variants that give all of the evidence, each with where it does ("" everywhere), and how many there are."""
    first = evidence[0]
    wrong = first.got != first.right
    made = variants(hypothesis, first, deadline)
    left = {words: [_shown(first, values)] for words, values in made.items()
            if values.shape == first.got.shape and np.array_equal(values[wrong], first.got[wrong])}
    for other in evidence[1:]:
        again = variants(hypothesis, other, deadline) if left else {}
        for words in list(left):
            if words in again and again[words].shape == other.got.shape:
                left[words].append(_shown(other, again[words]))
            elif other.wrong:
                del left[words]
    told = [(words, part(shown)) for words, shown in left.items()]
    return [(words, where) for words, where in told if where is not None], len(made)


def _shown(e: Evidence, values: np.ndarray) -> Shown:
    alone = e.inputs[0].astype(np.int64) if e.node.op in ELEMENTWISE else None
    return Shown(e.got, e.right, values, None, e.accumulator if "bias" in e.node.arrays else alone, (e.zero_point,))


def variants(hypothesis: Hypothesis, evidence: Evidence, deadline: float = inf) -> dict[str, np.ndarray]:
    """What would come out, by words; a variant that cannot be run ends the list. Raises TimeIsUp."""
    made: dict[str, np.ndarray] = {}
    try:
        for words, values in hypothesis.variants(evidence):
            check_time(deadline)
            made[words] = values
    except RUN_ERRORS:
        return made
    return made
