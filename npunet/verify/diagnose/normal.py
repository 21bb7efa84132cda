"""A batch norm's parameters, and what it read and gave, as the diagnosis compares them.

At inference a batch norm is one line a channel, y = a x + b with a = gamma / sqrt(var + eps), b = beta - mean a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SLACK = 12 * 2.0**-24  # roundings of a line's value, generous: another formula, parts in another order
WORD = {"gamma": "gamma", "beta": "beta", "mean": "the mean", "var": "the variance"}
NAME = {key: f"batch_norm_{'variance' if key == 'var' else key}" for key in WORD}
Line = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Norm:
    """The parameters of a batch norm, (C,) float64 each."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    eps: float

    def having(self, key: str, value: np.ndarray) -> Norm:
        """With another gamma, beta, mean or var."""
        changed: dict[str, Any] = {key: value}
        return replace(self, **changed)

    def line(self) -> Line:
        """Scale and shift."""
        scale = self.gamma / np.sqrt(self.var + self.eps)
        return scale, self.beta - self.mean * scale


def norm_of(parameters: Sequence[np.ndarray], eps: float) -> Norm:
    """From gamma, beta, mean and variance of any float dtype."""
    gamma, beta, mean, var = (value.astype(np.float64) for value in parameters)
    return Norm(gamma, beta, mean, var, eps)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a batch norm read and gave.

    x, got : (P, C) float64
    blur   : how far x may be from what the port had, (P, C) or 0
    own    : the parameters as declared
    kin    : the parameters of other batch norms as wide, by name
    """

    x: np.ndarray
    got: np.ndarray
    blur: np.ndarray | float
    own: Norm
    kin: Mapping[str, Norm]

    def allowance(self, line: Line) -> np.ndarray:
        """How far the port's numbers may be from those of a line."""
        a, b = line
        return SLACK * (np.abs(self.x * a) + np.abs(self.own.mean * a) + np.abs(b)) + self.blur * np.abs(a)

    def fits(self, line: Line) -> np.ndarray:
        """Channels whose every number a line gives, (C,) bool."""
        off = np.abs(self.x * line[0] + line[1] - self.got)
        blind = ~(np.isfinite(self.x) & np.isfinite(self.got))
        return (blind | (off <= self.allowance(line))).all(0) & ~blind.all(0)


def from_scale(own: Norm, scale: np.ndarray) -> Line:
    """The line that another scale makes."""
    return scale, own.beta - own.mean * scale
