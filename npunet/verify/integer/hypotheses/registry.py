"""All hypotheses by name: each re-runs a layer in the way in which a port may have gone wrong."""

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
    """What may be wrong with the operators `ops` (empty: with all)."""

    name: str
    ops: tuple[str, ...]
    variants: Function


HYPOTHESES: dict[str, Hypothesis] = {}


def hypothesis(name: str, *ops: str) -> Callable[[Function], Function]:
    """Register a function that yields variants."""
    def register(function: Function) -> Function:
        HYPOTHESES[name] = Hypothesis(name, ops, function)
        return function

    return register
