"""A moving average of the weights: what a run scores and keeps, while the weights themselves move on."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from npunet.train.optimise import Arrays
from npunet.train.step import TrainStep, fitting

PREFIX, COUNT = "average/", "average steps"


class Averaged:
    """A step whose `weights` are a moving average of those that it moves, batch norm's statistics included.

    a = a * d + w * (1 - d),  d = min(decay, (1 + t) / (10 + t)) after t steps, in the weights' dtype, as written

    The average lies within the valley whose walls the weights of single steps climb. The growing d lets it follow the
    fast first steps. State: that of the step within, "average/<weight>", and "average steps" (int64), which is t.

    Source: Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4), 838-855; the growing d as in TensorFlow's
    tf.train.ExponentialMovingAverage.
    """

    def __init__(self, step: TrainStep, decay: float) -> None:
        self.within, self.decay = step, decay
        self._shapes = {name: w.shape for name, w in step.weights().items()}
        self._average, self._steps = joint(step.weights()), 0

    def step(self, x: np.ndarray, labels: np.ndarray, rate: float, generator: np.random.Generator) -> float:
        """See TrainStep.step. A loss that is not finite leaves the average as it was."""
        loss = self.within.step(x, labels, rate, generator)
        if np.isfinite(loss):
            kept = min(self.decay, (1 + self._steps) / (10 + self._steps))
            w, like = joint(self.within.weights()), self._average.dtype.type
            self._average = self._average * like(kept) + w * like(1 - kept)
            self._steps += 1
        return loss

    def memory_of(self, batch: int) -> int:
        return self.within.memory_of(batch)

    def weights(self) -> Arrays:
        weights, begun = {}, 0
        for name, shape in self._shapes.items():
            ended = begun + math.prod(shape)
            weights[name], begun = self._average[begun:ended].reshape(shape).copy(), ended
        return weights

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        self.within.load(weights)
        self._average, self._steps = joint(self.within.weights()), 0

    def state(self) -> Arrays:
        averages = {PREFIX + name: value for name, value in self.weights().items()}
        return {**self.within.state(), **averages, COUNT: np.array(self._steps)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        fitting(self.state(), state)
        self.within.restore({name: value for name, value in state.items()
                             if name != COUNT and not name.startswith(PREFIX)})
        self._average = joint({name: state[PREFIX + name] for name in self._shapes})
        self._steps = int(state[COUNT])


def joint(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """All weights in one row, which one operation moves."""
    return np.concatenate([w.ravel() for w in weights.values()])


def judged(state: Mapping[str, np.ndarray]) -> Arrays:
    """The weights in a step's state that are scored: the averages where there are any."""
    prefix = PREFIX if COUNT in state else "weights/"
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
