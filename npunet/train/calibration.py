"""Windows of annotated data to calibrate an integer network by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

SAMPLES = 200  # windows that do


def windows(batch: np.ndarray, shape: tuple[int | None, ...]) -> list[np.ndarray]:
    """What a batch (B, ..., C) holds of windows of a size, side by side; an open size takes the batch's own."""
    sizes = [size or extent for size, extent in zip(shape[:-1], batch.shape[1:-1], strict=True)]
    counts = [extent // size for size, extent in zip(sizes, batch.shape[1:-1], strict=True)]
    found = []
    for sample in batch:
        for index in np.ndindex(*counts):
            found.append(sample[tuple(slice(i * size, (i + 1) * size) for i, size in zip(index, sizes, strict=True))])
    return found


def spread(batches: Iterable[np.ndarray], shape: tuple[int | None, ...], samples: int, source: str) -> np.ndarray:
    """At most so many windows (N, L, C) or (N, H, W, C), evenly spread over all that batches (B, ..., C) hold.

    source : what the batches come from, for the error

    Raises ValueError where there is none.
    """
    pieces = [piece for batch in batches for piece in windows(batch, shape)]
    if not pieces:
        sizes = " x ".join(str(size or "any") for size in shape)
        raise ValueError(f"{source} has nothing of the network's size {sizes}; give longer recordings")
    chosen = np.unique(np.linspace(0, len(pieces) - 1, samples).astype(int))
    return np.stack([pieces[i] for i in chosen])
