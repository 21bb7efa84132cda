"""What a layer read and what a port made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from npunet.golden.integer.reach import reach_of_accumulator
from npunet.golden.integer.stages import UNLIMITED, accumulator
from npunet.integer import run
from npunet.integer.network import Network, Node
from npunet.integer.ops.table_of_operators import OPERATORS, ROUNDED


@dataclass(frozen=True)
class Evidence:
    """One case of a layer.

    inputs : what it read, (N, H, W, C)
    got    : what the port made of it, int64
    bound  : of a convolution's accumulator, where that is not what its weights say
    shown  : all that the port showed of this layer by role: acc, pre, out, int64
    samples : of the case that has most
    others : other tensors of the port in this case by name, in the order in which they came to be
    """

    node: Node
    network: Network
    inputs: tuple[np.ndarray, ...]
    got: np.ndarray
    bound: int | None = None
    shown: Mapping[str, np.ndarray] = field(default_factory=dict)
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    samples: int = 0

    def unclamped(self, got: np.ndarray) -> Evidence:
        """The same of the values before the clamp, which the port shows."""
        node = replace(self.node, attrs={**self.node.attrs, "act_min": -UNLIMITED, "act_max": UNLIMITED})
        return replace(self, node=node, got=got)

    def summed(self, got: np.ndarray) -> Evidence:
        """The same of the accumulators, which the port shows: a requantisation by 2^30 and a shift of 1 leaves them."""
        unlimited = {"act_min": -UNLIMITED, "act_max": UNLIMITED, "output_offset": 0}
        if self.node.op == "add":
            node = replace(self.node, attrs={**self.node.attrs, **unlimited, "output_multiplier": 2**30,
                                             "output_shift": 1})
        else:
            F = len(self.node.arrays["bias"])
            node = replace(self.node, attrs={**self.node.attrs, **unlimited}, arrays={
                **self.node.arrays, "multiplier": np.full(F, 2**30, np.int32), "shift": np.ones(F, np.int32)})
        return replace(self, node=node, got=got)

    @cached_property
    def right(self) -> np.ndarray:
        """What the layer gives, int64."""
        return self.run()

    @cached_property
    def wrong(self) -> bool:
        """Whether the port's output is not what the layer gives."""
        return not np.array_equal(self.got, self.right)

    @cached_property
    def accumulator(self) -> np.ndarray:
        """The layer's accumulator, int64."""
        acc = accumulator(self.node, self.inputs, self.network)
        assert acc is not None, f"{self.node.op} has no accumulator"
        return acc

    @property
    def reach(self) -> int:
        """The largest magnitude that a convolution's accumulator can have."""
        return reach_of_accumulator(self.node, self.network) if self.bound is None else self.bound

    @property
    def wide(self) -> bool:
        """Whether the accumulator has 64 bits."""
        return "bias" in self.node.arrays and self.node.arrays["bias"].dtype == np.int64

    @property
    def zero_point(self) -> int:
        """Of the first input."""
        return self.network.tensors[self.node.inputs[0]].zero_point

    def run(self, attrs: Mapping[str, Any] | None = None, arrays: Mapping[str, np.ndarray] | None = None,
            rounding: str | None = None) -> np.ndarray:
        """The layer's output with some of its integers changed, int64."""
        node = replace(self.node, attrs={**self.node.attrs, **(attrs or {})},
                       arrays={**self.node.arrays, **(arrays or {})})
        attrs = {key: value for key, value in node.attrs.items() if key not in run.NOTES}
        if node.op in ROUNDED:
            attrs["rounding"] = rounding or self.network.rounding
        return OPERATORS[node.op](*(x.astype(np.int64) for x in self.inputs), **attrs, **node.arrays)

    def clamp(self, values: np.ndarray) -> np.ndarray:
        """Between the layer's limits."""
        return np.clip(values, self.node.attrs["act_min"], self.node.attrs["act_max"])
