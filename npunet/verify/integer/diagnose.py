"""Which hypotheses reproduce what a port made of a layer: every element of every case of the evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES
from npunet.verify.integer.hypotheses.registry import Hypothesis

RUN_ERRORS = (ValueError, IndexError, OverflowError)  # of integers with which an operator cannot run at all


def diagnose(evidence: Sequence[Evidence]) -> tuple[list[tuple[str, str]], int]:
    """Hypothesis and words of every cause, and how many variants were tried.

    evidence : of every case, one that is wrong first. Nothing is told that leaves one element unexplained
    """
    causes: list[tuple[str, str]] = []
    tried = 0
    op = evidence[0].node.op
    for hypothesis in HYPOTHESES.values():
        if not hypothesis.is_for(op):
            continue
        made = variants(hypothesis, evidence[0])
        tried += len(made)
        left = [words for words, values in made.items() if np.array_equal(values, evidence[0].got)]
        for other in evidence[1:]:
            if left:
                again = variants(hypothesis, other)
                left = [words for words in left
                        if (np.array_equal(again[words], other.got) if words in again else not other.wrong)]
        causes += [(hypothesis.name, words) for words in left]
    return causes, tried


def variants(hypothesis: Hypothesis, evidence: Evidence) -> dict[str, np.ndarray]:
    """What would come out, by words; a variant that cannot be run ends the list."""
    made: dict[str, np.ndarray] = {}
    try:
        for words, values in hypothesis.variants(evidence):
            made[words] = values
    except RUN_ERRORS:
        return made
    return made
