"""exp and expm1 of float32, defined to the last bit: the C library's are not the same everywhere.

    n = rint(fl(x * LOG2E))
    r = fl(fl(x - fl(n * LN2_HI)) - fl(n * LN2_LO))                 |r| <= ln(2) / 2
    q = C5;  q = fl(fl(q * r) + C4);  ...;  q = fl(fl(q * r) + C0)
    p = fl(r + fl(fl(r * r) * q))                                   expm1(r)
    exp(x)   = fl(1 + p) * 2^n
    expm1(x) = fl(fl(p * 2^n) + fl(2^n - 1)) for n < 25, exp(x) from there on

Every operation is one float32 operation, never fused. Multiplying by 2^n is exact; 2^n is applied as 2^h * 2^(n - h)
with h = floor(n / 2), so that both factors are normal for every n from -126 to 128.
Largest errors measured: 1 ULP for exp, 2 ULP for expm1 (tests/test_ops_exponential.py).
"""

from __future__ import annotations

import numpy as np

LOG2E = np.float32(float.fromhex("0x1.715476p+0"))
LN2_HI = np.float32(float.fromhex("0x1.63p-1"))  # nine bits: n * LN2_HI is exact
LN2_LO = np.float32(float.fromhex("-0x1.bd0106p-13"))
# (expm1(r) - r) / r^2 on |r| <= ln(2) / 2, minimax in the relative error of expm1, C0 first
COEFFICIENTS = tuple(
    np.float32(float.fromhex(digits))
    for digits in ("0x1p-1", "0x1.555554p-3", "0x1.5554f8p-5", "0x1.1112d4p-7", "0x1.6d3a6p-10", "0x1.9e7c7cp-13")
)
LOWEST = np.float32(float.fromhex("-0x1.5d589ep+6"))  # exp of anything below is exactly 0: it would be subnormal
HIGHEST = np.float32(float.fromhex("0x1.62e42ep+6"))  # exp of anything above is infinite


def exp32(x: np.ndarray) -> np.ndarray:
    """The declared exponential of float32; see the head of this file.

    x : float32, any shape. 0 below LOWEST = -87.33654, infinity above HIGHEST = 88.72283, NaN for NaN.

    Raises TypeError for another dtype.
    Source: Muller 2016, Elementary Functions, chapter 11 (Cody and Waite's range reduction).
    """
    inside, n, p = _reduce(x)
    return np.where(inside, _scale(1 + p, n), _outside(x, np.float32(0)))


def expm1_32(x: np.ndarray) -> np.ndarray:
    """The declared exp(x) - 1 of float32, accurate near 0; see the head of this file.

    x : float32, any shape. -1 below LOWEST, infinity above HIGHEST, NaN for NaN.

    Raises TypeError for another dtype.
    """
    inside, n, p = _reduce(x)
    low = np.minimum(n, 25)  # the branch is taken for n < 25 only
    y = np.where(n < 25, _scale(p, low) + (_scale(np.float32(1), low) - 1), _scale(1 + p, n))
    return np.where(inside, y, _outside(x, np.float32(-1)))


def _reduce(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where x is in range; n; and p = expm1(x - n ln 2). Out of range, x is taken as 0."""
    if x.dtype != np.float32:
        raise TypeError(f"the declared exponential takes float32, not {x.dtype}")
    inside = (x >= LOWEST) & (x <= HIGHEST)
    x = np.where(inside, x, np.float32(0))
    n = np.rint(x * LOG2E)
    r = (x - n * LN2_HI) - n * LN2_LO
    q = np.full_like(r, COEFFICIENTS[-1])
    for c in COEFFICIENTS[-2::-1]:
        q = q * r + c
    return inside, n.astype(np.int32), r + (r * r) * q


def _outside(x: np.ndarray, low: np.float32) -> np.ndarray:
    """The results out of range: low below, infinity above, NaN for NaN."""
    return np.where(x < LOWEST, low, np.where(x > HIGHEST, np.float32(np.inf), x))


def _scale(y: np.ndarray | np.float32, n: np.ndarray) -> np.ndarray:
    """y * 2^n in two exact steps."""
    half = n >> 1
    return y * _power_of_two(half) * _power_of_two(n - half)


def _power_of_two(n: np.ndarray) -> np.ndarray:
    """2^n for n from -126 to 127, made from its exponent bits."""
    return ((n + np.int32(127)) << np.int32(23)).view(np.float32)
