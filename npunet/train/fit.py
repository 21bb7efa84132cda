"""The training loop."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from types import FrameType
from typing import Any

import numpy as np

from npunet.data.batches import ahead
from npunet.model import UNet
from npunet.train.checkpoint import Keeper
from npunet.train.config import Config
from npunet.train.diagnose import Diverged, first_fault
from npunet.train.progress import Bar, Progress
from npunet.train.step import TrainStep
from npunet.train.task import Predict, Task


class Stopped(KeyboardInterrupt):
    """Someone stopped the run; its checkpoint is written."""


def fit(step: TrainStep, model: UNet, task: Task, keeper: Keeper, progress: Progress, bar: Bar,
        judge: Callable[[UNet], Predict]) -> Progress:
    """Train until the last step, until nothing gets better any more, or until someone stops it.

    step     : owns the weights while they move
    model    : takes the step's `weights` at each epoch's end
    judge    : makes of the model what is scored then
    progress : where to begin; it moves along and is returned

    Raises Diverged at a loss that is not a number, with the step and the layer; the last checkpoint is then the good
    one before. Raises Stopped after Ctrl-C.
    """
    config, rate = task.config, task.config.rate()
    keeper.save(step.state(), progress)
    begun = time.monotonic()
    with StopRequest() as stop, closing(ahead(task.batch, progress.step, config.steps)) as batches:
        for number, (x, labels) in batches:
            rng_state = progress.generator.bit_generator.state
            loss = step.step(x, labels, rate(number), progress.generator)
            if not math.isfinite(loss):
                raise diverged(model, step, number, loss, x, rng_state)
            progress.losses.append(loss)
            progress.step = number + 1
            bar.update(progress)
            if progress.step % config.steps_per_epoch == 0:
                model.load_weights(step.weights(), allow_nonfinite=True)  # the keeper says which one it is
                scores = task.score(judge(model), model.graph)
                end_epoch(task.config, progress, scores, rate(number), time.monotonic() - begun)
                keeper.save(step.state(), progress, best=progress.best is progress.history[-1])
                bar.epoch(progress)
                begun = time.monotonic()
                if progress.ended:
                    break
            elif stop.asked or keeper.due:
                keeper.save(step.state(), progress)
            if stop.asked:
                raise Stopped
    return progress


def end_epoch(config: Config, progress: Progress, scores: Mapping[str, float], rate: float, seconds: float) -> None:
    """Write the epoch's row, see whether it is the best, and whether the run is over."""
    row: dict[str, Any] = {"epoch": progress.step // config.steps_per_epoch, "step": progress.step, "rate": rate,
                           "loss": sum(progress.losses) / len(progress.losses)}
    row |= {f"val_{name}": None if math.isnan(value) else value for name, value in scores.items()}
    row["seconds"] = round(seconds, 2)
    progress.best = row if progress.better(row, config.metric) else progress.best
    progress.history.append(row)
    progress.losses = []
    if progress.step >= config.steps:
        progress.ended = "all epochs are done"
    elif config.patience and progress.best and row["epoch"] - progress.best["epoch"] >= config.patience:
        progress.ended = f"{config.metric} has not got better for {config.patience} epochs"


def diverged(model: UNet, step: TrainStep, number: int, loss: float, x: np.ndarray, rng_state: Any) -> Diverged:
    """The error for a loss that is not a number, with the place where it came up first."""
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = rng_state
    moving = {name.removeprefix("weights/"): value for name, value in step.state().items()
              if name.startswith("weights/")}                                # step.weights may be their average
    where = first_fault(model, moving, x, generator)
    return Diverged(f"the loss of step {number} is {loss}; it came up first in {where}. The last checkpoint is from "
                    "before; a lower lr_rate, a clipnorm or a look at the data may help")


class StopRequest:
    """While it is open, Ctrl-C and SIGTERM ask for a stop after the step under way; a second one stops at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False
        self._before: list[Callable[..., Any] | int | None] = []

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():            # elsewhere Python allows no handlers
            self._before = [signal.signal(number, self._ask) for number in self.SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=False):
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
