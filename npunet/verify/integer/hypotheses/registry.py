"""All hypotheses by name: each re-runs a layer in the way in which a port may have gone wrong.

HYPOTHESES are the mutants of a bundle's score too. RARE ones, which change so little that no vectors need show them,
are asked when none of those explains the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from npunet.verify.integer.evidence import Evidence

Variant = tuple[str, np.ndarray]  # what the port would do, in words, and what would come out, int64
Function = Callable[[Evidence], Iterator[Variant]]
CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
REQUANTISED = (*CONVOLUTIONS, "add", "rescale", "leaky_relu")


@dataclass(frozen=True)
class Hypothesis:
    """What may be wrong with the operators `ops` (empty: with all).

    of_values : whether it is about single values wherever they stand: sums of a convolution, elements, softmax rows
    linear    : whether its variants select or weigh the layer's inputs, and do nothing else with their values
    """

    name: str
    ops: tuple[str, ...]
    variants: Function
    of_values: bool = False
    linear: bool = False

    def is_for(self, op: str) -> bool:
        """Whether it is about an operator."""
        return not self.ops or op in self.ops


HYPOTHESES: dict[str, Hypothesis] = {}
RARE: dict[str, Hypothesis] = {}


def hypothesis(name: str, *ops: str, of_values: bool = False, linear: bool = False,
               rare: bool = False) -> Callable[[Function], Function]:
    """Register a function that yields variants."""
    def register(function: Function) -> Function:
        (RARE if rare else HYPOTHESES)[name] = Hypothesis(name, ops, function, of_values, linear)
        return function

    return register
