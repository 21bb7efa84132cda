"""Objects in images: which were found, and the threshold that a network has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet.segment.instances import objects as objects  # what is compared here


@dataclass
class ObjectScores:
    """Objects found, missed and made up, over images. A pair counts when its IoU exceeds `threshold`, at least 0.5:
    then an object has one partner at most."""

    threshold: float = 0.5
    found: int = 0
    missed: int = 0
    made_up: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold < 1:
            raise ValueError(f"threshold={self.threshold!r} must lie in [0.5, 1): below, partners are ambiguous")

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Compare two images of object numbers (H, W), 0 for background."""
        true_count, said_count = int(truth.max(initial=0)) + 1, int(predicted.max(initial=0)) + 1
        pairs = truth.astype(np.int64).ravel() * said_count + predicted.ravel()
        overlap = np.bincount(pairs, minlength=true_count * said_count).reshape(true_count, said_count)
        sizes, said = overlap.sum(1), overlap.sum(0)
        union = sizes[1:, None] + said[None, 1:] - overlap[1:, 1:]
        found = int((overlap[1:, 1:] > self.threshold * union).sum())
        self.found += found
        self.missed += int((sizes[1:] > 0).sum()) - found
        self.made_up += int((said[1:] > 0).sum()) - found

    def to_dict(self) -> dict[str, Any]:
        """average_precision = found / (found + missed + made up), as the 2018 Data Science Bowl has it; recall,
        precision. A score that is not defined is None."""
        total = self.found + self.missed + self.made_up
        return {
            "iou_threshold": self.threshold,
            "average_precision": round(self.found / total, 6) if total else None,
            "recall": round(self.found / (self.found + self.missed), 6) if self.found + self.missed else None,
            "precision": round(self.found / (self.found + self.made_up), 6) if self.found + self.made_up else None,
            "found": self.found, "missed": self.missed, "made_up": self.made_up,
        }


def otsu_threshold(image: np.ndarray, bins: int = 256) -> float:
    """The grey value that parts an image's histogram so that both sides are as uniform as possible.

    Maximises w0 * w1 * (m0 - m1)^2, weights and means of the values below and above; of equal ones the lowest.

    Source: Otsu 1979, IEEE Trans. SMC 9(1), 62-66, equation 14.
    """
    counts, edges = np.histogram(image, bins)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1].astype(float), float(counts.sum())
    sums = np.cumsum(counts * middles)
    above = total - below
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (means[0] - means[1]) ** 2)])


class Foreground:
    """How well masks meet the true ones: intersection over union, of each image and of all pixels together."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, int]] = []  # pixels in both masks of an image, and in either

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """One image's masks."""
        self.counts.append((int((truth & predicted).sum()), int((truth | predicted).sum())))

    @property
    def each(self) -> np.ndarray:
        """(N,) of the images; 1 where both masks are empty."""
        both, either = np.array(self.counts, float).reshape(-1, 2).T
        return np.where(either == 0, 1, both / np.maximum(either, 1))

    @property
    def together(self) -> float:
        """Of all pixels: an image counts by the size of its foreground."""
        both, either = np.sum(self.counts, axis=0)
        return float(both / either) if either else 1.0
