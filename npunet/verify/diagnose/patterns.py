"""The list of patterns: causes that are read off the port's output, its bytes and its geometry.

A hypothesis is a wrong recipe that needs no look at the output; a pattern looks first (an offset, a factor, a layout),
and predicts the whole output from what it saw. What it predicts is judged by the rule like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from npunet.golden.reader import Bundle
from npunet.graph import Node
from npunet.verify.diagnose.causes import Evidence
from npunet.verify.diagnose.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Sight:
    """What a pattern sees of a layer in one case.

    recipe   : the layer as declared
    right    : its output as declared, (N, H, W, C)
    evidence : what it read and gave, and what else the port had
    differs  : where right and given output are not the same bits
    node, bundle : which layer it is, and of what
    """

    recipe: Recipe
    right: np.ndarray
    evidence: Evidence
    differs: np.ndarray
    node: Node
    bundle: Bundle

    @property
    def got(self) -> np.ndarray:
        """The port's output."""
        return self.evidence.got

    @property
    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Right output, given output and where they differ, (N, H W C) each."""
        N = len(self.right)
        return self.right.reshape(N, -1), self.got.reshape(N, -1), self.differs.reshape(N, -1)

    @property
    def inputs(self) -> list[np.ndarray]:
        """What the layer read."""
        return self.evidence.inputs


@dataclass(frozen=True, eq=False)
class Guess:
    """What a pattern predicts: an output or a recipe.

    words     : the cause
    y         : the whole output that it would give
    allowance : how far the port's may be from it, elementwise; None: bit for bit
    name      : of the cause, if it is not the pattern's
    recipe    : instead of y: what gives it
    sums      : beside y: what gives the accumulator of a convolution; None: the right one
    of_sums   : the accumulator is not predicted
    again     : what the same cause gives in another case, where a look at that case alone would not tell
    fixed     : the recipe changes weights or geometry alone, which are the same in every case
    """

    words: str
    y: np.ndarray | None = None
    allowance: np.ndarray | None = None
    name: str = ""
    recipe: Recipe | None = None
    sums: Recipe | None = None
    of_sums: bool = False
    again: Callable[[Sight], Guess] | None = None
    fixed: bool = False


Guesses = Iterator[Guess]


@dataclass(frozen=True)
class Pattern:
    """A way to see a cause.

    ops  : operators that it is about; none: all
    rank : 0 is looked at before the hypotheses, 1 after them, 2 when nothing of rank 1 explains all, 3 when nothing
           else does
    """

    name: str
    ops: tuple[str, ...]
    rank: int
    build: Callable[[Sight], Guesses]

    def guesses(self, sight: Sight) -> Guesses:
        """What it sees."""
        return self.build(sight) if not self.ops or sight.recipe.op in self.ops else iter(())


PATTERNS: dict[str, Pattern] = {}


def pattern(*ops: str, rank: int = 1) -> Callable[[Callable[[Sight], Guesses]], Callable[[Sight], Guesses]]:
    """Enter a function into the list."""

    def enter(build: Callable[[Sight], Guesses]) -> Callable[[Sight], Guesses]:
        if build.__name__ in PATTERNS:
            raise ValueError(f"two patterns are called {build.__name__}")
        PATTERNS[build.__name__] = Pattern(build.__name__, ops, rank, build)
        return build

    return enter
