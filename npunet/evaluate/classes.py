"""Scores of classes, from a confusion matrix over samples or pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int, ignore_label: int | None = None) -> np.ndarray:
    """Count what was taken for what: (classes, classes) int64, rows the truth, columns the prediction.

    truth, predicted : integers of one shape, 0 ... classes - 1; where truth is ignore_label nothing is counted

    Raises ValueError when the shapes differ or a label is out of range.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, the prediction {predicted.shape}")
    counted = np.ones(truth.shape, bool) if ignore_label is None else truth != ignore_label
    true, said = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for name, labels in (("truth", true), ("the prediction", said)):
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f"{name} holds labels {labels.min()} to {labels.max()}; there are {classes} classes")
    return np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassScores:
    """What a confusion matrix says of each class and of all together.

    With TP, FP, FN of a class: precision = TP / (TP + FP), recall = TP / (TP + FN), f1 = 2 TP / (2 TP + FP + FN),
    iou = TP / (TP + FP + FN). 0 / 0 is NaN: a class that neither occurs nor is predicted has no score, and means
    leave it out. weighted_* are means by support, the number of true samples; mean_* are plain.
    """

    matrix: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """True samples of each class."""
        return self.matrix.sum(1)

    @property
    def precision(self) -> np.ndarray:
        """(K,) of what was called a class, the share that is it."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """(K,) of what is a class, the share that was called it."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(1))

    @property
    def f1(self) -> np.ndarray:
        """(K,) harmonic mean of precision and recall."""
        return _ratio(2 * np.diag(self.matrix), self.matrix.sum(0) + self.matrix.sum(1))

    @property
    def iou(self) -> np.ndarray:
        """(K,) intersection over union."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(0) + self.matrix.sum(1) - np.diag(self.matrix))

    def summary(self) -> dict[str, float]:
        """accuracy, weighted_f1, mean_f1, mean_iou, weighted_iou."""
        return {
            "accuracy": float(_ratio(np.trace(self.matrix), self.matrix.sum())),
            "weighted_f1": _weighted(self.f1, self.support),
            "mean_f1": _mean(self.f1),
            "mean_iou": _mean(self.iou),
            "weighted_iou": _weighted(self.iou, self.support),
        }

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Everything, ready for JSON; a score that is not defined is None."""
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1, "iou": self.iou}
        each = {name: {**{what: _json(values[k]) for what, values in columns.items()}, "support": int(self.support[k])}
                for k, name in enumerate(class_names)}
        return {**{what: _json(value) for what, value in self.summary().items()}, "classes": each,
                "confusion": self.matrix.tolist()}

    def table(self, class_names: Sequence[str], unit: str = "samples") -> str:
        """The scores and the confusion matrix as text."""
        width = max(12, *(len(name) + 2 for name in class_names))
        lines = [f"{'class':{width}}{'precision':>10}{'recall':>10}{'F1':>10}{'IoU':>10}{unit:>14}"]
        for k, name in enumerate(class_names):
            cells = "".join(f"{values[k]:10.4f}" for values in (self.precision, self.recall, self.f1, self.iou))
            lines.append(f"{name:{width}}{cells}{self.support[k]:14,}")
        found = self.summary()
        lines.append(f"{'weighted':{width}}{'':20}{found['weighted_f1']:10.4f}{found['weighted_iou']:10.4f}"
                     f"{self.support.sum():14,}")
        lines.append(f"{'mean':{width}}{'':20}{found['mean_f1']:10.4f}{found['mean_iou']:10.4f}"
                     f"      accuracy {found['accuracy']:.4f}")
        columns = "".join(f"{name:>12}" for name in class_names)
        lines += ["", f"{'true / said':{width}}{columns}"]
        lines += [f"{name:{width}}" + "".join(f"{count:12,}" for count in row)
                  for name, row in zip(class_names, self.matrix.tolist(), strict=True)]
        return "\n".join(lines)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(above, np.float64) / below


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _weighted(values: np.ndarray, support: np.ndarray) -> float:
    known = ~np.isnan(values) & (support > 0)
    return float((values[known] * support[known]).sum() / support[known].sum()) if known.any() else float("nan")


def _json(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
