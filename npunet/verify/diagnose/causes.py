"""What a search for causes is given and what it finds, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a layer gave in one case.

    inputs : what it read, (N, H, W, C) each
    got    : the port's output
    others : what else the port had computed before in this case, by layer name
    """

    case: str
    inputs: list[np.ndarray]
    got: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """One explanation.

    names     : hypotheses, one or two
    words     : the explanation
    explained : elements of the port's output that it gives, bit for bit or (exact False) up to rounding
    total     : elements looked at
    """

    names: tuple[str, ...]
    words: str
    explained: int
    total: int
    exact: bool

    @property
    def whole(self) -> bool:
        """Whether it explains every element."""
        return self.explained == self.total


@dataclass(frozen=True)
class Diagnosis:
    """What was found for a layer: the best explanation first, others that explain as much after it.

    unchanged : elements that the reference itself gives, of the total of the causes
    tried     : recipes and outputs that were compared
    """

    layer: str
    causes: tuple[Cause, ...]
    unchanged: int
    total: int
    tried: int
