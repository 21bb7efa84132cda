"""What a run needs besides when it fine-tunes for integers: calibration, the integer network as what is scored."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from npunet.integer_model import IntegerModel, quantize
from npunet.limits import Unsupported
from npunet.model import UNet
from npunet.segment import Segmenter
from npunet.train.calibration import SAMPLES, spread
from npunet.train.quantised_step import QuantisedStep
from npunet.train.task import Predict, Task, examples

MUCH = 0.005  # of F1, half a point: what quantising may cost before fine-tuning is worth its time


class Quantised:
    """A run's integer side.

    task   : windows of its training part calibrate
    scheme : "int8" or "int16x8"

    Raises ValueError for training data without a window of the network's size.
    """

    def __init__(self, task: Task, scheme: str) -> None:
        self.task, self.scheme = task, scheme
        self.calibration = spread((x for x, _ in examples(task.things["train"])), task.config.input_shape, SAMPLES,
                                  "the training data")
        self._before: Mapping[str, float] | None = None

    def step(self, model: UNet, backend: str) -> QuantisedStep:
        """The training step. Raises Unsupported for a backend that cannot do it."""
        if backend not in ("auto", "numpy"):
            raise Unsupported(f"the {backend} does not fake-quantise; leave --backend out")
        config = self.task.config
        return QuantisedStep(model, config.optimiser(), config.loss_name, config.l2, self.task.loss_options(),
                             calibration=self.calibration, scheme=self.scheme, every=config.steps_per_epoch)

    def integer(self, model: UNet | Segmenter) -> IntegerModel:
        """The integer network of a model."""
        return quantize(model, self.calibration, self.scheme)

    def judge(self, model: UNet) -> Predict:
        """What is scored: the integer network of the model as it is now."""
        face = self.integer(model).dequantized()
        return lambda x: face.predict(x, pad=True)

    def before(self, model: UNet, float_judge: Callable[[UNet], Predict]) -> tuple[str, dict[str, Any]]:
        """Score the network as it begins, in float and quantised without any training: in words, and as epoch 0."""
        real = self.task.score(float_judge(model), model.graph)
        self._before = self.task.score(self.judge(model), model.graph)
        told = ", ".join(f"{name} {real[name]:.4f} in float, {self._before[name]:.4f} in {self.scheme}"
                         for name in ("loss", "f1", "iou"))
        lost = real["f1"] - self._before["f1"]
        if lost <= MUCH:
            told += (f"\n{self.scheme} costs this network {100 * lost:.2f} points of F1: under half a point "
                     "fine-tuning gains little or nothing, and npunet quantize alone will do")
        row = {f"val_{name}": None if math.isnan(value) else value for name, value in self._before.items()}
        return f"before any training, on the validation subjects: {told}", {"epoch": 0, "step": 0, **row}

    def compared(self, best: Mapping[str, Any] | None) -> str:
        """Whether the best epoch is better than quantising without training, in words."""
        column = self.task.config.metric
        name = column.removeprefix("val_")
        if best is None or best[column] is None:
            return ""
        if best["epoch"] == 0:
            return (": no epoch was better than quantising alone, so the network that this one began with is kept; "
                    "another lr_rate may do more")
        if self._before is None:
            return ""
        gain = (best[column] - self._before[name]) * (-1 if name == "loss" else 1)
        return f", {gain:.4f} better than without fine-tuning"

    def write(self, folder: str | os.PathLike[str], model: Segmenter) -> Path:
        """Write the integer network of a run's best network beside it."""
        path = integer_file(folder, self.scheme)
        self.integer(model).save(path)
        return path


def integer_file(folder: str | os.PathLike[str], scheme: str) -> Path:
    """Where a run keeps its integer network."""
    return Path(folder) / f"model_{scheme}.npz"
