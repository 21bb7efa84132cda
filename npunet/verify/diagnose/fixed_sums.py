"""Sums of products in fixed point, as integer hardware makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from npunet.ops.accumulate import fma32

ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rounded": np.rint,
    "cut downwards": np.floor,
    "cut towards zero": np.trunc,
}
WIDE = 64  # bits of an accumulator that nothing overflows
PLACES = {
    "sum": "after every step",
    "tap": "after every tap",
    "product": "every product",
    "integers": "inputs, weights and every product",
    "cut": "inputs and weights cut towards zero, and every product",
    "end": "inputs and weights, and the sum at its end",
}


@dataclass(frozen=True)
class Fixed:
    """A fixed-point accumulator.

    bits, point : width, and fractional bits of it
    at          : what is brought to these fractional bits, a key of PLACES
    rounding    : how, a key of ROUNDINGS
    wraps       : what is too large wraps around, else it saturates
    """

    bits: int
    point: int
    at: str
    rounding: str
    wraps: bool

    def __str__(self) -> str:
        if self.bits == WIDE:
            return f"with {self.point} fractional bits ({PLACES[self.at]} {self.rounding}), wide enough for every sum"
        over = "wraps" if self.wraps else "saturates"
        return f"Q{self.bits - 1 - self.point}.{self.point} ({PLACES[self.at]} {self.rounding}; {over})"

    def kept(self, value: np.ndarray) -> np.ndarray:
        """Numbers as the accumulator holds them, float64."""
        scale, top = 2.0**self.point, 2.0 ** (self.bits - 1)
        whole = ROUNDINGS[self.rounding](value * scale)
        whole = np.remainder(whole + top, 2 * top) - top if self.wraps else np.clip(whole, -top, top - 1)
        return whole / scale

    def total(
        self, terms: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, taps: list[int], fused: bool
    ) -> np.ndarray:
        """start + the sum of x * w over (x, w), one after the other, float32; taps : for every term its tap."""
        acc, scale = start.astype(np.float64), 2.0**self.point
        for k, (x, w) in enumerate(terms):
            if self.at in ("sum", "tap"):
                small = acc.astype(np.float32)
                acc = (fma32(x, w, small) if fused else small + x * w).astype(np.float64)
                if self.at == "sum" or k + 1 == len(terms) or taps[k + 1] != taps[k]:
                    acc = self.kept(acc)
                continue
            if self.at in ("integers", "end"):
                x, w = np.rint(x * scale) / scale, np.rint(w * scale) / scale
            elif self.at == "cut":
                x, w = np.trunc(x * np.float32(scale)) / scale, np.trunc(w * np.float32(scale)) / scale
            product = x.astype(np.float64) * w
            if self.at != "end":
                product = ROUNDINGS[self.rounding](product * scale) / scale
                acc = self.kept(acc + product)
            else:
                acc = acc + product
        return self.kept(acc).astype(np.float32)


def all_of(point: int, most: float) -> Iterator[Fixed]:
    """Every accumulator with so many fractional bits.

    most : that sums reach in magnitude; accumulators that hold it are all alike
    """
    for at in PLACES:
        for rounding in ROUNDINGS:
            yield Fixed(WIDE, point, at, rounding, False)
            for bits in (16, 24, 32):
                for wraps in (False, True) if 2.0 ** (bits - 1 - point) <= most else ():
                    yield Fixed(bits, point, at, rounding, wraps)
