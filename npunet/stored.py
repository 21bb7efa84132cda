"""Arrays that stand in a file: their shapes are known before their numbers are read."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np

from npunet import memory


class Stored(NamedTuple):
    """An array in an open file, known by what its header says, and not read before it is asked for.

    load : reads it, whole
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """The array. Raises ValueError where it does not fit in memory, and any of FAULTS."""
        memory.require(self.nbytes, f"an array of shape {self.shape}", "take a smaller file, or more memory")
        return self.load()
