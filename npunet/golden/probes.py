"""Values that tell a right kernel from a wrong one, operator by operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.golden.draws import Draws
from npunet.ops.exponential import HIGHEST, LOWEST

LARGEST = float(np.finfo(np.float32).max)
SUBNORMALS = [2.0**-149, 2.0**-149 * 3, 2.0**-127, 2.0**-126 - 2.0**-149, 2.0**-126]
SPECIAL = np.array([np.nan, np.inf, LARGEST, -np.inf, 0.0, -LARGEST, -0.0], np.float32)  # NaN at the even places


def values(op: str) -> np.ndarray:
    """Single values for an elementwise operator, (n,) float32."""
    around = {"relu6": [6.0, 0.0], "elu": exponents(), "selu": exponents()}.get(op, [0.0, 1.0])
    plain = [1.0, 3.0, 0.2, 5.0, 2.0**24, 1 + 2.0**-12, 1e-8, LARGEST, *SUBNORMALS]
    both = np.array([*plain, *(-value for value in plain)], np.float32)
    return np.concatenate([SPECIAL, both, with_neighbours(np.array(around, np.float32))])


def exponents() -> list[float]:
    """Where the declared exponential changes its branch: its ends, and half multiples of ln 2."""
    halves = [-(n + 0.5) * float(np.log(2)) for n in (0, 1, 2, 22, 23, 24, 25, 60, 125)]
    return [float(LOWEST), float(HIGHEST), -104.0, -1e30, -88.0, *halves, -25 * float(np.log(2))]


def with_neighbours(points: np.ndarray) -> np.ndarray:
    """Each point between the float32 below and the one above."""
    down, up = np.float32(-np.inf), np.float32(np.inf)
    return np.concatenate([np.nextafter(points, down), points, np.nextafter(points, up)])


def pairs() -> np.ndarray:
    """Pairs for an addition, (n, 2) float32: ties of both signs, cancellation, overflow, subnormals, signed zeros."""
    tie = 2.0**-24
    listed = [
        (1, tie), (1 + 2 * tie, tie), (1, tie * 1.5), (2.0**24, 1), (2.0**24, -1), (2.0**24 + 2, 1),
        (1.5, 2 * tie - 1.5), (LARGEST, LARGEST), (LARGEST, 2.0**103), (LARGEST, 2.0**102), (2.0**-149, 2.0**-149),
        (2.0**-126, -(2.0**-149)),
        (2.0**-126, -(2.0**-127)), (5, -5), (np.inf, 1), (np.inf, -np.inf), (np.nan, 1), (0.0, -0.0), (-0.0, -0.0),
        (0.0, 0.0), (6, 2.0**-22),
    ]
    both = np.array(listed, np.float32)
    return np.concatenate([both, -both, both[:, ::-1]])


def logit_rows(K: int) -> np.ndarray:
    """Rows of K scores for a softmax, (n, 1, K) float32: equal, one dominant, far apart, with infinities and NaN."""
    rows = [np.zeros(K), np.full(K, 1e4), np.full(K, -np.inf), np.linspace(-1, 1, K), np.linspace(80, -80, K)]
    for value in (10.0, 88.0, 1e30, -1e30, np.inf, -np.inf, np.nan):
        for k in {0, K // 2, K - 1}:
            row = np.zeros(K)
            row[k] = value
            rows.append(row)
    last = np.zeros(K)
    last[-1] = LOWEST  # the smallest exponential over a sum of more than one: subnormal
    rows.append(last)
    for point in with_neighbours(np.array(exponents(), np.float32)):
        row = np.full(K, point)
        row[0] = 0
        rows.append(row)
    return np.array(rows, np.float32)[:, None]


def plane_themes() -> dict[str, Callable[[tuple[int, int, int], Draws], np.ndarray]]:
    """Planes for a layer norm: constant, dominated by one value, far from zero, with infinities and NaN."""

    def with_one(value: float, background: float) -> Callable[[tuple[int, int, int], Draws], np.ndarray]:
        def plane(shape: tuple[int, int, int], draws: Draws) -> np.ndarray:
            x = draws.uniform(shape, background)
            x[shape[0] // 2, shape[1] // 2] = value
            return x

        return plane

    return {
        "random": lambda shape, draws: draws.uniform(shape, 4.0),
        "nan": with_one(np.nan, 1.0),
        "infinite": with_one(np.inf, 1.0),
        "constant": lambda shape, draws: np.full(shape, 3.3, np.float32),
        "zeros": lambda shape, draws: np.zeros(shape, np.float32),
        "offset": lambda shape, draws: 4096 + draws.uniform(shape, 1.0),
        "far": lambda shape, draws: 2**22 + draws.uniform(shape, 4.0),  # squares of the mean drown the variance
        "dominated": with_one(1e6, 1.0),
        "small": lambda shape, draws: draws.spread(shape, -146, -132),  # subnormal, and so is what comes out
        "overflow": lambda shape, draws: draws.spread(shape, 100, 127),
        "wide": lambda shape, draws: draws.spread(shape, -12, 12),  # the last is finite: was it written?
    }
