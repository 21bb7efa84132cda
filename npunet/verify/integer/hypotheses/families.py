"""Requantisations put together from their steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import REQUANTISED, Variant, hypothesis
from npunet.verify.integer.hypotheses.rounding import through

CUTS = {  # what is left of a multiplier of 31 bits, and its bits
    "its multiplier": (0, 0), "the upper 16 bits of its multiplier": (16, 0),
    "its multiplier rounded to 16 bits": (16, 1 << 15), "the upper 8 bits of its multiplier": (24, 0),
    "its multiplier rounded to 8 bits": (24, 1 << 23), "its multiplier rounded to 24 bits": (8, 1 << 7),
    "the upper 24 bits of its multiplier": (8, 0)}
ROUNDINGS = ("rounds half up", "floors", "cuts towards zero", "rounds half to even", "rounds half away from zero",
             "rounds half down", "rounds up")


def divided(x: np.ndarray, bits: Any, how: str) -> np.ndarray:
    """x / 2^bits, rounded in one of ROUNDINGS."""
    bits = np.asarray(bits, np.int64)
    half = (np.int64(1) << bits) >> 1
    if how == "floors":
        return x >> bits
    if how == "rounds up":
        return -(-x >> bits)
    if how == "rounds half up":
        return (x + half) >> bits
    if how == "rounds half down":
        return -((-x + half) >> bits)
    if how == "cuts towards zero":
        return np.sign(x) * (np.abs(x) >> bits)
    if how == "rounds half away from zero":
        return np.sign(x) * ((np.abs(x) + half) >> bits)
    return (x + np.maximum(half - 1, 0) + np.where(half > 0, (x >> bits) & 1, 0)) >> bits


@hypothesis("steps of the requantisation", *REQUANTISED, rare=True)
def steps(e: Evidence) -> Iterator[Variant]:
    """Bits of the multiplier, rounding of the product, rounding of the shift: each in every way."""
    for words, (cut, half) in CUTS.items():
        for product in ROUNDINGS[:4]:
            for shift in ROUNDINGS:
                def rule(x: np.ndarray, m: Any, s: Any, cut: int = cut, half: int = half, product: str = product,
                         shift: str = shift) -> np.ndarray:
                    m, s = (np.asarray(m, np.int64) + half) >> cut, np.asarray(s, np.int64)
                    high = divided((x << np.maximum(s, 0)) * m, 31 - cut, product)
                    return divided(high, np.maximum(-s, 0), shift)

                yield f"takes {words}, {product} the product and {shift} the right shift", through(e, rule)
        for shift in ROUNDINGS:
            def at_once(x: np.ndarray, m: Any, s: Any, cut: int = cut, half: int = half,
                        shift: str = shift) -> np.ndarray:
                m, s = (np.asarray(m, np.int64) + half) >> cut, np.asarray(s, np.int64)
                return divided(x * m, 31 - cut - s, shift)

            yield f"takes {words} and {shift} once", through(e, at_once)
