"""One training step: forward, loss, backward, update. The NumPy one defines it; an engine's gives the same faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from npunet import footprint, memory, run
from npunet.differentiate import differentiate
from npunet.layers import BATCH_NORM_MOMENTUM
from npunet.model import UNet
from npunet.ops.norm import moving_statistics
from npunet.train.optimise import Arrays, Optimiser

WAITING = 4  # batches, made ahead of the step


class TrainStep(Protocol):
    """What a training loop needs of a step; it owns the weights while a network trains."""

    def step(self, x: np.ndarray, labels: np.ndarray, rate: float, generator: np.random.Generator) -> float:
        """Train on one batch and return its loss, from before the update.

        x         : (B, L, C) or (B, H, W, C);  labels : what the loss asks for
        rate      : the learning rate
        generator : draws the dropout masks, by run.draw_masks

        A loss that is not finite leaves weights, statistics and state as they were.
        """
        ...

    def memory_of(self, batch: int) -> int:
        """Bytes that a step on so many samples of the model's input size takes, known before any is made."""
        ...

    def weights(self) -> Arrays:
        """Every weight and moving statistic by name, copied: what is scored and kept."""
        ...

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take weights and statistics; the optimiser starts anew."""
        ...

    def state(self) -> Arrays:
        """All that the next step depends on, copied: "weights/<name>" and "optimiser/<name>"."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what `state` gave. Raises ValueError that lists what does not fit."""
        ...


class NumpyStep:
    """The training step in NumPy.

    model               : its graph and first weights; it does not change
    optimiser           : of train.optimise
    loss, loss_options  : a name of ops.table.LOSSES, and its options (class_weights, ignore_label, ...)
    l2                  : add the reference's regularisation, 1e-3 * sum(w^2) of every kernel, to the loss
    batch_norm_momentum : moving = momentum * moving + (1 - momentum) * batch; Keras' 0.99 lags behind for hundreds of
                          steps, which makes the evaluation of a short run look broken: use 0.9 there
    """

    def __init__(self, model: UNet, optimiser: Optimiser, loss: str = "sparse_categorical_crossentropy",
                 l2: bool = True, loss_options: Mapping[str, Any] | None = None,
                 batch_norm_momentum: float = BATCH_NORM_MOMENTUM) -> None:
        self.model, self.optimiser = model, optimiser
        self.loss, self.l2, self.loss_options = loss, l2, dict(loss_options or {})
        self.batch_norm_momentum = batch_norm_momentum
        self._weights: Arrays = {}
        self._state: Arrays = {}
        self.load(model.weights)

    def step(self, x: np.ndarray, labels: np.ndarray, rate: float, generator: np.random.Generator,
             masks: Mapping[str, np.ndarray] | None = None) -> float:
        """See TrainStep.step; masks : dropout masks to use instead of drawn ones."""
        images, _ = self.model.sizes.admit(x, self.model.dtype)
        graph = self.model.sizes.graph(images.shape[1:3])
        masks = run.draw_masks(graph, len(images), generator, images.dtype) if masks is None else masks
        result = differentiate(graph.for_training(), {**self._weights, **masks}, images,
                               self.model.sizes.admit_labels(labels, images), loss=self.loss, l2=self.l2,
                               **self.loss_options)
        if np.isfinite(result.loss):
            before = {name: self._weights[name] for name in self.model.trainable}
            after, self._state = self.optimiser.update(before, result.dweights, self._state, rate)
            moved = {name: moving_statistics(self._weights[name], batch, self.batch_norm_momentum)
                     for name, batch in result.statistics.items()}
            self._weights = {**self._weights, **after, **moved}
        return float(result.loss)

    def memory_of(self, batch: int) -> int:
        return footprint.batch_bytes(self.model.graph, self.model.dtype, batch, keep=2)

    def weights(self) -> Arrays:
        return {name: value.copy() for name, value in self._weights.items()}

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = {name: np.array(weights[name]) for name in self.model.weights}
        self._state = self.optimiser.start({name: self._weights[name] for name in self.model.trainable})

    def state(self) -> Arrays:
        return {name: value.copy() for name, value in joined(self._weights, self._state).items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        fitting(joined(self._weights, self._state), state)
        self._weights = {name: np.array(state[f"weights/{name}"]) for name in self._weights}
        self._state = {name: np.array(state[f"optimiser/{name}"]) for name in self._state}


def joined(weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> Arrays:
    """Weights and optimiser state as one mapping."""
    return {**{f"weights/{name}": value for name, value in weights.items()},
            **{f"optimiser/{name}": value for name, value in state.items()}}


def fitting(expected: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless both have the same names, shapes and dtypes; the message lists the differences."""
    faults = [f"missing: {name}" for name in expected if name not in given]
    faults += [f"surplus: {name}" for name in given if name not in expected]
    faults += [f"{name} is {given[name].dtype} {given[name].shape}, not {value.dtype} {value.shape}"
               for name, value in expected.items() if name in given
               and (given[name].shape, given[name].dtype) != (value.shape, value.dtype)]
    if faults:
        shown = "\n  ".join(faults[:12] + ([f"... and {len(faults) - 12} more"] if len(faults) > 12 else []))
        raise ValueError(f"the state belongs to another network or optimiser:\n  {shown}")


def refuse_batch(step: TrainStep, batch: int, sample: int) -> None:
    """Raise ValueError for a batch size that does not fit in memory, with what it needs and what there is.

    sample : numbers of one input, of which the next batches wait in memory
    """
    memory.require(step.memory_of(batch) + WAITING * 8 * batch * sample, f"batch_size={batch:,}",
                   "use a smaller batch_size")
