"""Random values that are the same with every version of NumPy and on every machine."""

from __future__ import annotations

import zlib

import numpy as np

RANDOM = "PCG64, raw 64-bit words"


class Draws:
    """Values from the raw words of PCG64, whose stream NumPy promises to keep (that of Generator it does not).

    seed  : of the bundle
    label : what the values are for, so that one case's values do not depend on another's
    """

    def __init__(self, seed: int, label: str) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(label.encode())]))

    def words(self, size: int) -> np.ndarray:
        """`size` raw words, uint64."""
        return self._bits.random_raw(size)

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """Whole numbers from low to high - 1, int64."""
        span = np.uint64(high - low)
        return low + ((self.words(int(np.prod(shape))) >> np.uint64(11)) % span).astype(np.int64).reshape(shape)

    def uniform(self, shape: tuple[int, ...], size: float = 1.0) -> np.ndarray:
        """Multiples of size * 2^-23 between -size and size, float32; exact when size is a power of two."""
        steps = self.integers(shape, -(1 << 23) + 1, 1 << 23)
        return (steps * (size / (1 << 23))).astype(np.float32)

    def spread(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """Values of both signs whose exponents are even between 2^low and 2^high, with 23 random bits, float32."""
        fractions = 1 + self.integers(shape, 0, 1 << 23) / (1 << 23)
        signs = 1 - 2 * self.integers(shape, 0, 2)
        return np.ldexp(signs * fractions, self.integers(shape, low, high)).astype(np.float32)

    def choice(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Elements of values, each as likely as any other."""
        return values[self.integers(shape, 0, len(values))]
