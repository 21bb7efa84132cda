"""A training step that feels what integers do: quantisation-aware fine-tuning of a trained network.

Forward and backward run over the deployed network with fake quantisation (integer.quantization.fake): batch norm is
folded by its moving statistics, which stay as they are, so that training sees the very kernels that quantize will make
integers of, and dropout is left out. The trained weights themselves move (kernels, gamma, beta, biases): the result is
an ordinary float network, for quantize. A few hundred steps at a small rate, from a network that has learnt already.

Activations have the scales that quantize would choose: min/max over the calibration data, found anew every so many
steps as the weights move. (Jacob et al. let moving averages of each batch's range stand for them.)

Source: Jacob et al. 2018, arXiv:1712.05877, section 3; Krishnamoorthi 2018, arXiv:1806.08342, sections 3.2 and 4
(fine-tune from a float network, batch norm frozen).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npunet import footprint
from npunet.deploy import deploy_backward
from npunet.differentiate import differentiate
from npunet.integer.quantization.calibrate import Range, calibrate
from npunet.integer.quantization.fake import fake_quantized, fake_quantized_weights
from npunet.integer.quantization.plan import Plan, make_plan
from npunet.integer.quantization.quantize import LEVELS, admitted, quantize_network, settle
from npunet.layers import L2_FACTOR
from npunet.model import UNet
from npunet.ops.regularise import l2_backward, l2_forward
from npunet.train.optimise import Adam, Arrays, Optimiser
from npunet.train.schedule import cosine
from npunet.train.step import fitting, joined

EVERY = 50  # steps after which the ranges are found anew
RANGES, STEPS = "ranges", "quantised steps"


class QuantisedStep:
    """A TrainStep with fake quantisation, in NumPy.

    model       : the trained network; it does not change
    calibration : (N, L, C) or (N, H, W, C) inputs such as the network will see
    scheme      : "int8" or "int16x8"
    every       : steps after which the ranges of the activations are found anew
    The other arguments are those of NumpyStep.

    State: NumpyStep's, "ranges" (T, 2) float64 in the order of the tensors, and "quantised steps".
    Raises ValueError for calibration data and networks that quantize refuses.
    """

    def __init__(self, model: UNet, optimiser: Optimiser, loss: str = "sparse_categorical_crossentropy",
                 l2: bool = True, loss_options: Mapping[str, Any] | None = None, *, calibration: np.ndarray,
                 scheme: str = "int8", every: int = EVERY) -> None:
        quantize_network(model, calibration, scheme, "D", "minmax")          # which refuses what has no integer form
        self.model, self.optimiser, self.scheme, self.every = model, optimiser, scheme, every
        self.loss, self.l2, self.loss_options = loss, l2, dict(loss_options or {})
        self._calibration = admitted(model, calibration)
        self._weights: Arrays = {}
        self._state: Arrays = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._steps = 0
        self.load(model.weights)

    def step(self, x: np.ndarray, labels: np.ndarray, rate: float, generator: np.random.Generator) -> float:
        if self._steps and self._steps % self.every == 0:
            self._ranges = self._found()
        loss, gradients = self.gradients(x, labels)
        if np.isfinite(loss):
            before = {name: self._weights[name] for name in self.model.trainable}
            after, self._state = self.optimiser.update(before, gradients, self._state, rate)
            self._weights = {**self._weights, **after}
            self._steps += 1
        return loss

    def gradients(self, x: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        """The loss of a batch under fake quantisation, and its straight-through gradient for every trained weight."""
        images, _ = self.model.sizes.admit(x, self.model.dtype)
        graph = self.model.sizes.graph(images.shape[1:3])
        plan = self._plan(images.shape[1:3])
        rounding = fake_quantized(plan, settle(plan, self._ranges, self.scheme), self.scheme)
        result = differentiate(rounding, fake_quantized_weights(plan), images,
                               self.model.sizes.admit_labels(labels, images), loss=self.loss, l2=False,
                               **self.loss_options)
        gradients = deploy_backward(graph, self._weights, plan.graph, result.dweights)
        value = float(result.loss)
        if self.l2:
            for spec in graph.weights.values():
                if spec.regularized:
                    w = self._weights[spec.name]
                    value += float(l2_forward(w, L2_FACTOR))
                    gradients[spec.name] = gradients[spec.name] + l2_backward(w, L2_FACTOR)
        return value, gradients

    def memory_of(self, batch: int) -> int:
        plan = self._plan(self._calibration.shape[1:3])
        rounding = fake_quantized(plan, settle(plan, self._ranges, self.scheme), self.scheme)
        return footprint.batch_bytes(rounding, self.model.dtype, batch, keep=2)

    def weights(self) -> Arrays:
        return {name: value.copy() for name, value in self._weights.items()}

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = {name: np.array(weights[name]) for name in self.model.weights}
        self._state = self.optimiser.start({name: self._weights[name] for name in self.model.trainable})
        self._ranges, self._steps = self._found(), 0

    def state(self) -> Arrays:
        return {**{name: value.copy() for name, value in joined(self._weights, self._state).items()},
                RANGES: np.array(list(self._ranges.values())), STEPS: np.array(self._steps)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        fitting(self.state(), state)
        self._weights = {name: np.array(state[f"weights/{name}"]) for name in self._weights}
        self._state = {name: np.array(state[f"optimiser/{name}"]) for name in self._state}
        self._ranges = {name: (float(low), float(high))
                        for name, (low, high) in zip(self._ranges, state[RANGES], strict=True)}
        self._steps = int(state[STEPS])

    def _plan(self, size: tuple[int, int]) -> Plan:
        return make_plan(self.model.sizes.graph(size), self._weights, self.model.sizes.rank)

    def _found(self) -> dict[str, Range]:
        """The ranges of the network as it is now."""
        return calibrate(self._plan(self._calibration.shape[1:3]), self._calibration, "minmax", LEVELS[self.scheme],
                         arithmetic="any")


def fine_tune(model: UNet, batch: Callable[[int], tuple[np.ndarray, np.ndarray]], calibration: np.ndarray,
              scheme: str = "int8", *, steps: int = 300, rate: float = 5e-4, optimiser: Optimiser | None = None,
              loss: str = "sparse_categorical_crossentropy", l2: bool = False,
              loss_options: Mapping[str, Any] | None = None, every: int = EVERY,
              progress: Callable[[int, int], Any] | None = None) -> UNet:
    """A trained network, trained on so that quantize costs it less.

    model       : float32, trained; it does not change
    batch       : batch(i) gives inputs and labels of step i, such as for gradients
    calibration : as for quantize, to which the same data should be given
    rate        : of the first step; it falls to 0 by half a cosine
    optimiser   : by default Adam
    progress    : called with (steps done, steps in all)

    Returns a new UNet. Raises ValueError for what quantize refuses, and for a loss that is not finite.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    step = QuantisedStep(model, optimiser or Adam(), loss, l2, loss_options, calibration=calibration, scheme=scheme,
                         every=every)
    generator = np.random.default_rng(0)                                     # which this kind of step never draws from
    for number in range(steps):
        x, labels = batch(number)
        value = step.step(x, labels, cosine(number, rate=rate, steps=steps), generator)
        if not np.isfinite(value):
            raise ValueError(f"the loss of step {number} is {value}; a lower rate may help")
        if progress:
            progress(number + 1, steps)
    made = UNet(model.params, model.input_shape, model.num_classes, seed=None)
    return made.load_weights(step.weights())
