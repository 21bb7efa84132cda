"""Sums of two numbers as float32, rounded otherwise than once to the nearest."""

from __future__ import annotations

import numpy as np

ONCE_MORE = ("double", "extended")  # rounded to a wider format first
DIRECTED = ("zero", "up", "down", "away")  # "away": to the nearest, ties away from zero
KEPT_BEYOND_DOUBLE = 2.0**-11  # the 64 bits of an x87's significand against the 53 of a double


def added(a: np.ndarray, b: np.ndarray, how: str) -> np.ndarray:
    """a + b in float32.

    a, b : float64, each exact (a product of two float32 is)
    how  : one of ONCE_MORE or DIRECTED

    Source: Knuth, The Art of Computer Programming, volume 2, 4.2.2, theorem B: a + b = s + t without error.
    """
    with np.errstate(all="ignore"):
        s = np.asarray(a + b, np.float64)
        v = s - a
        t = np.where(np.isfinite(s), (a - (s - v)) + (b - v), 0.0)
        if how == "double":
            return s.astype(np.float32)
        if how == "extended":
            step = np.spacing(np.abs(s)) * KEPT_BEYOND_DOUBLE
            t = np.where(np.isfinite(s), np.rint(t / step) * step, 0.0)
        near = _nearest(s, t)
        if how == "extended":
            return near
        rest = np.where(np.isfinite(near), (s - near) + t, 0.0)  # exact: of a + b over near, or its sign where t counts
        if how == "away":
            other = np.nextafter(near, np.where(rest > 0, np.float32(np.inf), np.float32(-np.inf)))
            tie = (t == 0) & (rest != 0) & (2 * rest == other.astype(np.float64) - near)
            return np.where(tie & (np.abs(other) > np.abs(near)), other, near)
        over = np.isinf(near) & np.isfinite(s)  # the largest float lies nearer to the directions that lead there
        rest = np.where(over, np.where(near > 0, -1.0, 1.0), rest)
        up = {"up": rest > 0, "down": np.zeros(rest.shape, bool), "zero": (rest > 0) & (s < 0)}[how]
        down = {"up": np.zeros(rest.shape, bool), "down": rest < 0, "zero": (rest < 0) & (s > 0)}[how]
        inf = np.float32(np.inf)
        return np.where(up, np.nextafter(near, inf), np.where(down, np.nextafter(near, -inf), near))


def _nearest(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """s + t rounded to float32 once: s is brought to an odd last bit on the side of t first (Boldo and Melquiond)."""
    bits = s.view(np.int64)
    off = (t != 0) & (bits & 1 == 0) & np.isfinite(s)
    return np.where(off, bits + np.where((t > 0) == (s > 0), 1, -1), bits).view(np.float64).astype(np.float32)
