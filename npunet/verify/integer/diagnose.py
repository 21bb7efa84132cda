"""Which hypotheses reproduce what a port made of a layer: every element of every case of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

import numpy as np

from npunet.verify.diagnose.causes import CUT, TimeIsUp, check_time
from npunet.verify.diagnose.regions import runs
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES, RARE
from npunet.verify.integer.hypotheses.registry import Hypothesis

AXES = {3: "channel", 2: "column", 1: "row"}
ENOUGH = 4  # elements that differ: fewer are no evidence for a part
RUN_ERRORS = (ValueError, IndexError, OverflowError)  # of integers with which an operator cannot run at all
Fit = Callable[[Sequence[Evidence]], Iterator[tuple[str, Callable[[Evidence], np.ndarray]]]]


def diagnose(evidence: Sequence[Evidence], fits: Mapping[str, Fit],
             deadline: float = inf) -> tuple[list[tuple[str, str]], int, str]:
    """Hypothesis and words of every cause, how many were tried, and what was cut for want of time ("" if nothing).

    evidence : of every case, one that is wrong first. Nothing is told that leaves one element unexplained
    fits     : what may be read off the output, asked where no hypothesis explains it
    deadline : of time.perf_counter(), at which the search ends with what it has
    """
    causes: list[tuple[str, str]] = []
    tried = 0
    try:
        for listed in (HYPOTHESES, RARE):
            for hypothesis in listed.values():
                if hypothesis.is_for(evidence[0].node.op):
                    found, count = _explaining(hypothesis, evidence, deadline)
                    causes += found
                    tried += count
            if causes:
                return causes, tried, ""
        causes, count = _in_a_part(evidence, deadline)
        tried += count
        if causes:
            return causes, tried, ""
        for name, fit in fits.items():
            for words, apply in fit(evidence):
                check_time(deadline)
                tried += 1
                if all(np.array_equal(apply(each), each.got) for each in evidence):
                    return [(name, words)], tried, ""
    except TimeIsUp:
        return causes, tried, "" if causes else CUT
    return causes, tried, ""


def _explaining(hypothesis: Hypothesis, evidence: Sequence[Evidence],
                deadline: float) -> tuple[list[tuple[str, str]], int]:
    """The variants that give all of the evidence, and how many there are."""
    made = variants(hypothesis, evidence[0], deadline)
    left = [words for words, values in made.items() if np.array_equal(values, evidence[0].got)]
    for other in evidence[1:]:
        if left:
            again = variants(hypothesis, other, deadline)
            left = [words for words in left
                    if (np.array_equal(again[words], other.got) if words in again else not other.wrong)]
    return [(hypothesis.name, words) for words in left], len(made)


def _in_a_part(evidence: Sequence[Evidence], deadline: float) -> tuple[list[tuple[str, str]], int]:
    """What explains all that is wrong where it happens in some channels, columns or rows alone, as in a remainder."""
    wrong = [each for each in evidence if each.wrong]
    causes: list[tuple[str, str]] = []
    tried = 0
    for axis, named in AXES.items():
        extent = evidence[0].right.shape[axis]
        others = tuple(k for k in range(4) if k != axis)
        at = np.flatnonzero(np.any([(each.got != each.right).any(others) for each in wrong], 0))
        if len(at) > extent / 2 or sum(int((each.got != each.right).sum()) for each in wrong) < ENOUGH:
            continue
        where = f"in {named} {runs(at)} of {extent}" if len(at) == 1 else f"in {named}s {runs(at)} of {extent}"
        for hypothesis in HYPOTHESES.values():
            if not hypothesis.is_for(evidence[0].node.op):
                continue
            left: list[str] | None = None
            for each in wrong:
                if left != []:
                    made = variants(hypothesis, each, deadline)
                    tried += len(made) if left is None else 0
                    left = [words for words, values in made.items() if (left is None or words in left)
                            and np.array_equal(values.take(at, axis), each.got.take(at, axis))]
            causes += [(hypothesis.name, f"{words}, {where} alone") for words in left or []]
        if causes:
            break
    return causes, tried


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
