"""What an instruction of an integer program is before it has a place in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from npunet.engine.integer.plan.opcodes import Mode
from npunet.engine.plan.lowering import Instruction


class Finish(NamedTuple):
    """What makes activations of a convolution's sums.

    bias             : (F,) int64
    multiplier, shift : (F,) int32
    low, high        : clamp, less the output's zero point
    """

    mode: Mode
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    low: int
    high: int

    @property
    def factor(self) -> int:
        """By which weights and bias are multiplied."""
        return 2 if self.mode == Mode.D else 1

    @property
    def long(self) -> bool:
        """Whether the bias is added in 64 bits, to sums that begin at 0."""
        return self.mode in (Mode.LONG, Mode.LONG_S)


@dataclass(frozen=True)
class IntegerInstruction(Instruction):
    """An Instruction of integers; weights and depthwise are int8.

    finish, first : of the convolution, of its depthwise half
    wide          : whether its sums are kept in 64 bits
    winograd      : whether tiles of 2 x 2 outputs are computed by Winograd's algorithm
    bytes         : whether a convolution multiplies fours of bytes, not pairs of 16-bit integers
    addition      : attributes of the addition that is fused, or of an ADD, in the order of (result, addend)
    constants     : attributes and arrays of another operator
    zero          : a zero point, see opcodes.Extra
    place         : channel of y that a SPREAD begins at
    """

    finish: Finish | None = None
    first: Finish | None = None
    wide: bool = False
    winograd: bool = False
    bytes: bool = False
    addition: Mapping[str, int] | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    zero: int = 0
    place: int = 0
