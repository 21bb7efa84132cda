"""What a search for causes is given and what it finds, as plain records; and when it has to end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

REGION = "region"  # a fallback: no cause is on the list, but what differs lies together
NOT_LISTED = "not_on_the_list"  # a fallback: no cause is on the list, and what differs lies everywhere
CUT = "the search was cut at its time limit: not every cause was tried"


class TimeIsUp(Exception):
    """The search has reached its time limit."""


def check_time(deadline: float) -> None:
    """Raise TimeIsUp once time.perf_counter() has reached the deadline."""
    if time.perf_counter() > deadline:
        raise TimeIsUp


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a layer gave in one case.

    inputs : what it read, (N, H, W, C) each
    got    : the port's output
    others : what else the port had computed before in this case, by layer name
    acc    : what a convolution had summed before its bias, where that was dumped
    golden : the golden outputs of the layers after it, by layer name
    cases  : the port's outputs of this and other layers in the other cases, by "<layer> of <case>"
    later  : the port's outputs of the layers after it
    reader : a layer that reads this output and is right although what was dumped would make it wrong; "" where none is
             known
    """

    case: str
    inputs: list[np.ndarray]
    got: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    acc: np.ndarray | None = None
    golden: Mapping[str, np.ndarray] = field(default_factory=dict)
    cases: Mapping[str, np.ndarray] = field(default_factory=dict)
    later: Mapping[str, np.ndarray] = field(default_factory=dict)
    reader: str = ""


@dataclass(frozen=True)
class Cause:
    """One explanation.

    names     : hypotheses, one or two; or the fallback alone: REGION, or NOT_LISTED
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

    @property
    def found(self) -> bool:
        """Whether it is a cause; else it only says where the port errs, because no cause is on the list."""
        return self.names[0] not in (REGION, NOT_LISTED)


@dataclass(frozen=True)
class Diagnosis:
    """What was found for a layer: the best explanation first, others that explain as much after it.

    unchanged : elements that the reference itself gives, of the total of the causes
    tried     : recipes and outputs that were compared
    cut       : what was left out for want of time, in words; "" where nothing was, or all is explained
    seconds   : that the search took
    """

    layer: str
    causes: tuple[Cause, ...]
    unchanged: int
    total: int
    tried: int
    cut: str = ""
    seconds: float = 0.0
