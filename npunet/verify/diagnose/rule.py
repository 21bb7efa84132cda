"""When a cause is told: the one rule of the diagnosis.

A cause comes with the output that it would give. Against the port's output it is counted where it hits and where the
unchanged reference hits. It is told only if

  1. it explains what the unchanged reference does not: at least ENOUGH of the elements that the reference misses; and
  2. it contradicts nothing: wherever the reference hits, the cause hits too.

To hit is to have the same bits. A cause that computes in another order than the port may hit up to rounding; then the
unchanged reference is asked with the same allowance, so that a port which only rounds differently has no other cause,
and the cause has to come much nearer than the reference. Where a convolution's accumulator was dumped, it has to fit
as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npunet.verify.compare import same

ENOUGH = 0.9  # of what the reference misses; the rest may be a second fault

NEARER = 0.5  # of the reference's distance, to which a cause up to rounding has to come


@dataclass(frozen=True)
class Score:
    """Elements counted by the rule.

    size     : all
    missed   : those that the unchanged reference does not explain
    gained   : those of them that the cause explains
    lost     : those that the reference explains and the cause does not
    """

    size: int
    missed: int
    gained: int
    lost: int

    @property
    def explained(self) -> int:
        """Elements that the cause gives."""
        return self.size - self.missed - self.lost + self.gained

    @property
    def whole(self) -> bool:
        """Whether it explains every element, some of which the reference does not."""
        return 0 < self.gained == self.missed and not self.lost

    @property
    def told(self) -> bool:
        """The rule."""
        return not self.lost and self.gained > 0 and self.gained >= ENOUGH * self.missed

    def __add__(self, other: Score) -> Score:
        return Score(
            self.size + other.size, self.missed + other.missed, self.gained + other.gained, self.lost + other.lost
        )


NOTHING = Score(0, 0, 0, 0)


def score(by_cause: np.ndarray, by_reference: np.ndarray) -> Score:
    """Count where a cause and where the unchanged reference hit, two arrays of bool."""
    return Score(
        by_cause.size,
        int(np.count_nonzero(~by_reference)),
        int(np.count_nonzero(by_cause & ~by_reference)),
        int(np.count_nonzero(by_reference & ~by_cause)),
    )


def hits(y: np.ndarray, got: np.ndarray, allowance: np.ndarray | float | None = None) -> np.ndarray:
    """Where an output is the port's: the same bits, or finite and no further from it than an allowance."""
    equal = same(np.ascontiguousarray(y, np.float32), got)
    if allowance is None:
        return equal
    with np.errstate(all="ignore"):
        near = np.abs(np.asarray(y, np.float64) - got) <= allowance
    return equal | near & np.isfinite(got)


def nearer(y: np.ndarray, got: np.ndarray, right: np.ndarray) -> bool:
    """Whether an output that fits up to rounding is much nearer to the port's than the right one, root mean square."""
    with np.errstate(all="ignore"):
        ours, theirs = (np.asarray(value, np.float64) - got for value in (y, right))
    known = np.isfinite(ours) & np.isfinite(theirs)
    return bool((ours[known] ** 2).sum() < NEARER**2 * (theirs[known] ** 2).sum())
