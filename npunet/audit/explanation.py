"""What one number of a network was made from, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Index = tuple[int, ...]
ZERO, ONE = np.float32(0), np.float32(1)


@dataclass(frozen=True)
class Term:
    """One summand, or one candidate of a maximum.

    tensor, at : the element that it reads; at is None in the padding
    x          : its value
    weight     : name and index of the weight that it is multiplied by, or None
    w, product : the weight's value, and fl(x * w)
    total      : the running sum after it, in the arithmetic that was asked for
    """

    tensor: str
    at: Index | None
    x: np.float32
    weight: tuple[str, Index] | None = None
    w: np.float32 = ONE
    product: np.float32 = ZERO
    total: np.float32 = ZERO


@dataclass(frozen=True)
class Step:
    """One operation after the terms, or one value that enters: what it is, and its result."""

    text: str
    value: np.float32


@dataclass(frozen=True)
class Explanation:
    """Where one number comes from.

    layer, index : whose number, (row, column, channel)
    op           : the operator
    value        : the number
    terms        : what was added, in order; or the candidates of a maximum, of which `choice` was taken
    steps        : what was done besides
    """

    layer: str
    index: Index
    op: str
    arithmetic: str
    value: np.float32
    terms: Sequence[Term] = ()
    steps: Sequence[Step] = ()
    choice: int | None = None


def shown_number(x: np.floating | float) -> str:
    """Nine digits, which tell every float32 from its neighbours."""
    return f"{float(x):.9g}"
