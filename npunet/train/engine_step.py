"""EngineStep: NumpyStep's interface over one compiled program a batch shape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet import run
from npunet.differentiate import find_loss
from npunet.engine.plan.pack import aligned
from npunet.engine.plan.refusals import TRAINING
from npunet.engine.runtime.barrier import new_barrier
from npunet.engine.runtime.entry_points import TRAIN
from npunet.engine.runtime.installed import engine_installed
from npunet.engine.runtime.native import Call
from npunet.engine.runtime.runner import check_threads
from npunet.engine.runtime.threads import ThreadPool
from npunet.engine.training.plan import step_opcodes
from npunet.engine.training.plan.step_opcodes import Number
from npunet.engine.training.plan.step_program import Rule, StepProgram, compile_step
from npunet.layers import BATCH_NORM_MOMENTUM, L2_FACTOR
from npunet.limits import Unsupported
from npunet.model import UNet
from npunet.ops import losses
from npunet.train.optimise import SGD, Adam, AdamW, Arrays, Optimiser
from npunet.train.step import fitting, joined

PROGRAMS_KEPT = 4  # batch shapes
SPARE = 16  # float32 that a vector at the end of a block may read beyond it
LOSS_OPTIONS = {
    "sparse_categorical_crossentropy": {"from_logits", "class_weights", "ignore_label"},
    "categorical_focal": {"from_logits", "alpha", "gamma", "ignore_label"},
    "dice": {"axis", "from_logits", "ignore_label"},
    "mean_squared_error": set(),
}


class EngineStep:
    """The training step in the engine: forward, loss, backward and update in one native call.

    threads : at most so many; None for one per core. The other arguments as NumpyStep's

    The bits of weights and loss depend on neither the number of threads nor the CPU. Against NumpyStep the same
    formulas are summed in another order, in part in float32 (engine.training.weight_gradient says which), so results
    are near, not equal; the optimiser's arithmetic is the same operation by operation.

    Raises ImportError without Numba, and Unsupported (a ValueError) for what only NumpyStep can do: a model that is not
    float32, an optimiser or a loss of one's own.
    """

    def __init__(self, model: UNet, optimiser: Optimiser, loss: str = "sparse_categorical_crossentropy",
                 l2: bool = True, loss_options: Mapping[str, Any] | None = None,
                 batch_norm_momentum: float = BATCH_NORM_MOMENTUM, threads: int | None = None) -> None:
        if not engine_installed():
            raise ImportError("the engine's training step needs Numba: pip install numba, or use NumpyStep")
        if model.dtype != "float32":
            raise Unsupported(f"the engine trains float32, the model is {model.dtype}; use NumpyStep")
        if type(optimiser) not in (SGD, Adam, AdamW):
            raise Unsupported(f"the engine knows SGD, Adam and AdamW, not {type(optimiser).__name__}; use NumpyStep")
        TRAINING.check(model.graph)  # before the engine is compiled
        self.model, self.optimiser, self.loss = model, optimiser, loss
        self.options = self._loss_options(loss, dict(loss_options or {}))
        self.batch_norm_momentum, self.threads = batch_norm_momentum, check_threads(threads)
        self.rule = Rule(kind=self._kind(), clipping=self._clipping()[0],
                         decay=optimiser.weight_decay is not None, l2=l2)
        self.native, self.pool = TRAIN(), ThreadPool()
        self.programs: OrderedDict[tuple[int, ...], Prepared] = OrderedDict()
        self.offsets, size = {}, 0
        for name, spec in model.graph.weights.items():
            self.offsets[name] = size
            size += spec.size
        self.params, self.gradients, self.momenta, self.velocities = (aligned(size + SPARE) for _ in range(4))
        self.powers = np.ones(2)
        self.load(model.weights)

    def step(self, x: np.ndarray, labels: np.ndarray, rate: float, generator: np.random.Generator,
             masks: Mapping[str, np.ndarray] | None = None) -> float:
        """See train.step.Step.step; masks : dropout masks to use instead of drawn ones."""
        images, _ = self.model.sizes.admit(x, self.model.dtype)
        graph = self.model.sizes.graph(images.shape[1:3])
        masks = run.draw_masks(graph, len(images), generator, images.dtype) if masks is None else masks
        prepared = self._prepare(graph, images.shape)
        prepared.take(images, self.model.sizes.admit_labels(labels, images), masks, self.options)
        powers = self._set_numbers(prepared.numbers, rate)
        self.gradients[:] = 0
        self._run(prepared)
        if prepared.numbers[Number.FINITE]:
            self.powers = powers
        return float(prepared.numbers[Number.LOSS])

    def memory_of(self, batch: int) -> int:
        """By the planned arena."""
        graph = self.model.graph
        program = compile_step(graph, self.offsets, batch, self._loss_kind(graph), self.rule, self.threads)
        return 4 * (program.arena.size + program.masks) + 8 * (program.sums.size + program.numbers)

    def weights(self) -> Arrays:
        return self._named(self.params, self.offsets)

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        for name, view in self._views(self.params, self.offsets).items():
            view[...] = weights[name]
        self.momenta[:], self.velocities[:], self.powers = 0, 0, np.ones(2)

    def state(self) -> Arrays:
        return joined(self.weights(), self._optimiser_state())

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        fitting(self.state(), state)
        self.load({name: state[f"weights/{name}"] for name in self.offsets})
        for what, block in self._state_blocks().items():
            for name, view in self._views(block, self.model.trainable).items():
                view[...] = state[f"optimiser/{what}/{name}"]
        if isinstance(self.optimiser, Adam):
            self.powers = np.array(state["optimiser/powers"])

    def last_gradients(self) -> Arrays:
        """Of the last step: the gradient of every trainable weight, regularisation included, before clipping."""
        return self._named(self.gradients, self.model.trainable)

    def _run(self, prepared: Prepared) -> None:
        threads, barrier = self.threads, new_barrier()
        program = prepared.program
        shared = (prepared.arena, self.params, self.gradients, self.momenta,
                  self.velocities, prepared.sums, prepared.numbers, prepared.batch, prepared.labels, prepared.targets,
                  prepared.masks, program.batch)
        if threads == 1:
            self.native(program.tables[0], *shared, 0, 1, barrier)
        else:
            self.pool.run([Call(self.native, program.tables[thread], *shared, thread, threads, barrier)
                         for thread in range(threads)])

    def _prepare(self, graph: Any, shape: tuple[int, ...]) -> Prepared:
        if shape not in self.programs:
            kind = self._loss_kind(graph)
            self.programs[shape] = Prepared(compile_step(graph, self.offsets, shape[0], kind, self.rule, self.threads),
                                            shape, graph.shape(graph.output)[2], kind)
            while len(self.programs) > PROGRAMS_KEPT:
                self.programs.popitem(last=False)
        self.programs.move_to_end(shape)
        return self.programs[shape]

    def _set_numbers(self, numbers: np.ndarray, rate: float) -> np.ndarray:
        """Put the optimiser's numbers where the kernel finds them; the powers that Adam has after this step."""
        numbers[Number.L2], numbers[Number.RATE] = L2_FACTOR, rate
        numbers[Number.DECAY] = self.optimiser.weight_decay or 0.0
        numbers[Number.CLIP] = self._clipping()[1]
        numbers[Number.KEEP], numbers[Number.TAKE] = self.batch_norm_momentum, 1 - self.batch_norm_momentum
        if isinstance(self.optimiser, SGD):
            numbers[Number.MOMENTUM] = self.optimiser.momentum
        if not isinstance(self.optimiser, Adam):
            return self.powers
        powers = self.powers * np.array([self.optimiser.beta_1, self.optimiser.beta_2])
        numbers[Number.MOMENTUM] = self.optimiser.alpha(rate, powers)
        numbers[Number.TOWARD_1], numbers[Number.TOWARD_2] = 1 - self.optimiser.beta_1, 1 - self.optimiser.beta_2
        numbers[Number.EPSILON] = self.optimiser.epsilon
        return powers

    def _kind(self) -> int:
        if isinstance(self.optimiser, Adam):
            return step_opcodes.ADAM
        if not isinstance(self.optimiser, SGD) or not self.optimiser.momentum:
            return step_opcodes.DESCENT
        return step_opcodes.NESTEROV if self.optimiser.nesterov else step_opcodes.MOMENTUM

    def _clipping(self) -> tuple[int, float]:
        ways = ((step_opcodes.CLIP_NORM, self.optimiser.clipnorm),
                (step_opcodes.CLIP_GLOBAL, self.optimiser.global_clipnorm),
                (step_opcodes.CLIP_VALUE, self.optimiser.clipvalue))
        return next(((kind, value) for kind, value in ways if value is not None), (step_opcodes.NO_CLIP, 0.0))

    def _loss_options(self, loss: str, options: dict[str, Any]) -> dict[str, Any]:
        find_loss(loss, self.model.graph)
        if unknown := set(options) - LOSS_OPTIONS[loss]:
            raise TypeError(f"loss {loss!r} has no option {', '.join(sorted(unknown))}")
        if (axis := options.get("axis")) is not None and tuple(axis) != (1, 2):
            raise Unsupported(f"the engine's Dice takes axis=None or (1, 2), not {axis!r}; use NumpyStep")
        return options

    def _loss_kind(self, graph: Any) -> int:
        _, _, options = find_loss(self.loss, graph)
        from_logits = options.get("from_logits", True)
        if self.options.get("from_logits", from_logits) != from_logits:
            raise Unsupported(f"the engine takes from_logits={from_logits} for this network; use NumpyStep")
        if self.loss == "mean_squared_error":
            if not graph.nodes or graph[graph.output].op == "softmax":
                raise Unsupported("the engine has no squared error of a softmax; use NumpyStep")
            return step_opcodes.SQUARED_ERROR
        if self.loss == "sparse_categorical_crossentropy":
            return step_opcodes.CROSSENTROPY if from_logits else step_opcodes.CROSSENTROPY_OF_SOFTMAX
        return {"categorical_focal": step_opcodes.FOCAL, "dice": step_opcodes.DICE}[self.loss]

    def _state_blocks(self) -> dict[str, np.ndarray]:
        if isinstance(self.optimiser, Adam):
            return {"momentum": self.momenta, "velocity": self.velocities}
        return {"momentum": self.momenta} if isinstance(self.optimiser, SGD) and self.optimiser.momentum else {}

    def _optimiser_state(self) -> Arrays:
        state = {f"{what}/{name}": value for what, block in self._state_blocks().items()
                 for name, value in self._named(block, self.model.trainable).items()}
        return {**state, "powers": self.powers.copy()} if isinstance(self.optimiser, Adam) else state

    def _views(self, block: np.ndarray, names: Any) -> Arrays:
        specs = self.model.graph.weights
        return {name: block[self.offsets[name] : self.offsets[name] + specs[name].size].reshape(specs[name].shape)
                for name in names}

    def _named(self, block: np.ndarray, names: Any) -> Arrays:
        return {name: view.copy() for name, view in self._views(block, names).items()}


class Prepared:
    """A program with its memory."""

    def __init__(self, program: StepProgram, shape: tuple[int, ...], classes: int, loss: int) -> None:
        self.program, self.shape, self.classes, self.loss = program, shape, classes, loss
        self.arena = aligned(program.arena.size + SPARE)
        self.sums = np.zeros(program.sums.size + SPARE)
        self.numbers = np.zeros(program.numbers)
        self.masks = np.zeros(max(1, program.masks), np.float32)
        self.batch = np.zeros(0, np.float32)
        self.labels, self.targets = np.zeros(1, np.int32), np.zeros(1)

    def take(self, images: np.ndarray, labels: np.ndarray, masks: Mapping[str, np.ndarray],
             options: Mapping[str, Any]) -> None:
        """One batch's data. Raises ValueError for labels that do not fit."""
        self.batch = np.ascontiguousarray(images).reshape(-1)
        image = self.program.images[self.program.logits]
        output = (len(images), image.height, image.width, self.classes)
        if self.loss == step_opcodes.SQUARED_ERROR:
            losses.check_shape(labels, output)
            self.targets = np.ascontiguousarray(labels, np.float64).reshape(-1)
            self.numbers[Number.COUNTED] = labels.size
        else:
            self._take_labels(labels, output[:-1], options)
        if masks:
            self.masks = np.concatenate([np.ascontiguousarray(mask, np.float32).reshape(-1) for mask in masks.values()])

    def _take_labels(self, labels: np.ndarray, shape: tuple[int, ...], options: Mapping[str, Any]) -> None:
        probe = np.broadcast_to(np.float32(0), (*shape, self.classes))
        counted, clean = losses.check_labels(probe, labels, options.get("ignore_label"))
        ignored = -1
        self.labels = np.where(counted, clean, ignored).astype(np.int32).reshape(-1)
        self.numbers[Number.COUNTED], self.numbers[Number.IGNORED] = np.count_nonzero(counted), ignored
        self.numbers[Number.EACH] = options.get("axis") is not None
        self.numbers[Number.GAMMA] = options.get("gamma", 2.0)
        each = options.get("alpha", 0.25) if self.loss == step_opcodes.FOCAL else options.get("class_weights")
        self.numbers[Number.WEIGHTS : Number.WEIGHTS + self.classes] = losses.weights_of_classes(each, self.classes)
