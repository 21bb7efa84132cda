"""One comparison with somebody else's runtime: what was compared, and what came of it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Parity:
    """One runtime: its version, the arithmetic, the largest difference as a share of the output's largest magnitude.

    told    : what was compared, or why nothing was
    passed  : None where nothing was compared
    """

    runtime: str
    version: str
    told: str
    difference: float | None
    limit: float | None
    passed: bool | None


def compared(runtime: str, version: str, told: str, got: np.ndarray, expected: np.ndarray, limit: float) -> Parity:
    """One comparison."""
    difference = float(np.abs(got - expected).max() / (np.abs(expected).max() or 1))
    return Parity(runtime, version, told, difference, limit, bool(difference <= limit))


def absent(runtime: str, why: str) -> Parity:
    return Parity(runtime, "", why, None, None, None)


def installed(module: str) -> bool:
    """Whether a module could be imported; it is not."""
    return importlib.util.find_spec(module) is not None
