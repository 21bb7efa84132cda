"""Onsets and offsets of waves: found or missed, and how far off in time.

This is how delineators are scored on LUDB: a boundary counts as found when a predicted one of the same wave and kind
lies within 150 ms of it.
Source: Kalyakulina et al. 2020, IEEE Access 8, doi:10.1109/ACCESS.2020.3029211; ANSI/AAMI EC57 for the 150 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOLERANCE = 0.150  # s
KINDS = ("onset", "offset")


@dataclass
class Tally:
    """Boundaries of one kind: how many were found, missed and made up, and the errors of those found, in ms."""

    found: int = 0
    missed: int = 0
    made_up: int = 0
    errors: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, float | int | None]:
        """sensitivity = found / (found + missed), ppv = found / (found + made up), mean and deviation of the error.

        An error is predicted minus true time: positive means late. A score that is not defined is None.
        """
        return {
            "sensitivity": _share(self.found, self.missed), "ppv": _share(self.found, self.made_up),
            "mean_ms": round(float(np.mean(self.errors)), 3) if self.errors else None,
            "sd_ms": round(float(np.std(self.errors)), 3) if self.errors else None,
            "found": self.found, "missed": self.missed, "made_up": self.made_up,
        }


class EventScores:
    """Onsets and offsets of every class from 1 on, gathered signal by signal."""

    def __init__(self, class_names: Sequence[str], tolerance: float = TOLERANCE) -> None:
        self.class_names, self.tolerance = tuple(class_names), tolerance
        self.tallies = {(label, kind): Tally() for label in range(1, len(class_names)) for kind in KINDS}

    def add(self, truth: np.ndarray, predicted: np.ndarray, fs: float, ignore_label: int | None = None) -> None:
        """Compare one signal.

        truth, predicted : (L,) class of each sample, at fs samples per second

        Where truth is ignore_label nobody looked: a prediction there may be the partner of a true boundary near by, but
        does not count as made up otherwise.
        """
        known = np.ones(len(truth), bool) if ignore_label is None else truth != ignore_label
        for (label, kind), tally in self.tallies.items():
            true, said = (boundaries(labels, label)[KINDS.index(kind)] for labels in (truth, predicted))
            pairs = match(true, said, self.tolerance * fs)
            tally.found += len(pairs)
            tally.missed += len(true) - len(pairs)
            partners = {b for _, b in pairs}
            tally.made_up += sum(bool(known[at]) for b, at in enumerate(said) if b not in partners)
            tally.errors += [1000 * float(said[b] - true[a]) / fs for a, b in pairs]

    def to_dict(self) -> dict[str, Any]:
        """{class: {"onset": {...}, "offset": {...}}}, ready for JSON."""
        return {name: {kind: self.tallies[label, kind].to_dict() for kind in KINDS}
                for label, name in enumerate(self.class_names) if label}

    def table(self) -> str:
        """The scores as text."""
        lines = [f"{'boundary':14}{'Se %':>8}{'PPV %':>8}{'error ms':>18}{'found':>9}{'missed':>8}{'made up':>9}"]
        for (label, kind), tally in self.tallies.items():
            scores = tally.to_dict()
            shares = (scores["sensitivity"], scores["ppv"])
            cells = "".join(f"{'-' if share is None else format(100 * share, '.2f'):>8}" for share in shares)
            error = "-" if not tally.errors else f"{scores['mean_ms']:+.1f} +- {scores['sd_ms']:.1f}"
            lines.append(f"{self.class_names[label] + ' ' + kind:14}{cells}{error:>18}{tally.found:9,}"
                         f"{tally.missed:8,}{tally.made_up:9,}")
        return "\n".join(lines)


def boundaries(labels: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last sample of every run of `label` in labels (L,)."""
    steps = np.diff(np.concatenate([[0], (labels == label).astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1


def match(true: np.ndarray, said: np.ndarray, reach: float) -> list[tuple[int, int]]:
    """Pairs (index in true, index in said) no further apart than reach; the closest pair first, each index once."""
    distances = np.abs(np.subtract.outer(true, said))
    near = np.argwhere(distances <= reach)
    order = np.lexsort((near[:, 1], near[:, 0], distances[tuple(near.T)]))
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for a, b in near[order].tolist():
        if a not in taken[0] and b not in taken[1]:
            pairs.append((a, b))
            taken[0].add(a)
            taken[1].add(b)
    return pairs


def _share(found: int, other: int) -> float | None:
    return round(found / (found + other), 6) if found + other else None
