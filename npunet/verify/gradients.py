"""The backward case: every tensor of a training step against what the port's own tensors make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from npunet import UNet, run
from npunet.damage import told
from npunet.golden import backward_bounds as bounds
from npunet.golden import manifest
from npunet.golden.backward import DECLARED, _loss
from npunet.golden.reader import RUN_ERRORS, Bundle
from npunet.graph import Graph, Node
from npunet.layers import BATCH_NORM_MOMENTUM
from npunet.ops.bounds import gamma
from npunet.ops.norm import moving_statistics
from npunet.ops.table import OPERATORS
from npunet.verify.compare import Comparison, compare
from npunet.verify.feeds import Values

FLAT = 2.0**-10  # of a tensor's largest magnitude, where something that it was made from was not dumped
Part = tuple[str, np.ndarray, np.ndarray]  # name of what is read, its gradient, its bound
Local = tuple[np.ndarray, np.ndarray]  # what the port's tensors make, and how far off it may be


class Gradients:
    """The backward case of a bundle and what a port has of it; values : by (case, key)."""

    def __init__(self, bundle: Bundle, case: str, values: Values) -> None:
        self.bundle, self.case, self.values = bundle, case, values
        self.told = bundle.manifest["backward"]
        self.parts: dict[str, list[Part]] = {}

    @cached_property
    def graph(self) -> Graph:
        """The network in training. Raises ValueError when the model is not the bundle's."""
        try:
            model = UNet.load(self.bundle.root / self.bundle.manifest["model"]["file"])
            graph = model.sizes.graph(tuple(self.bundle.manifest["model"]["input_shape"][:2])).for_training()
            ids = [layer["id"] for layer in self.told["layers"]]
        except RUN_ERRORS as error:
            raise ValueError(f"{self.bundle.root}: the backward case cannot be read: {told(error):.200}") from None
        named = {record["name"]: record["id"] for record in self.told["weights"]}
        expected = {name: manifest.weight_id(number, name) for number, name in enumerate(model.weights)}
        if list(manifest.layer_ids(graph).values())[1:] != ids or named != expected:
            raise ValueError(f"{self.bundle.root}: the backward case has other layers or weights than the model")
        return graph

    def check(self, key: str) -> Comparison:
        """One tensor: within the bound of its own layer, or within a flat share where its sources are missing."""
        got, want = self.values[self.case, key], self.bundle.tensor(self.case, key)
        if want.dtype.kind != "f" or key in ("in", "labels") or key.endswith((".value", ".mask")):
            return compare(got, want)
        try:
            made, bound = self._local(key)
        except KeyError:
            finite = np.where(np.isfinite(want), np.abs(want), 0)
            return compare(got, want, np.full(want.shape, FLAT * float(finite.max(initial=0))))
        return compare(got, made.astype(np.float32), bound + np.abs(made) * 2.0**-24)

    def _of(self, key: str) -> np.ndarray:
        """The port's tensor; what a port is given (the batch, the weights before, masks) may be the bundle's.

        Raises KeyError when it was not dumped.
        """
        given = key in ("in", "labels") or key.endswith((".value", ".mask"))
        if given and (self.case, key) not in self.values:
            return self.bundle.tensor(self.case, key).astype(np.float64)
        return self.values[self.case, key].astype(np.float64)

    def _local(self, key: str) -> Local:
        stem, _, role = key.rpartition(".")
        if key == "din":
            return self._handed_down(self.graph.input)
        if role in ("out", "dout"):
            node = self._nodes[stem]
            return self._output(node) if role == "out" else self._handed_down(node.name)
        return self._weight(stem, role)

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        ids = manifest.layer_ids(self.graph)
        return {ids[node.name]: node for node in self.graph}

    @cached_property
    def _ids(self) -> dict[str, str]:
        weights = {record["name"]: record["id"] for record in self.told["weights"]}
        return manifest.layer_ids(self.graph) | weights

    def _operands(self, node: Node) -> list[np.ndarray]:
        """What a layer reads: inputs, weights before the step, masks."""
        inputs = [self._of("in" if name == self.graph.input else f"{self._ids[name]}.out") for name in node.inputs]
        weights = [self._of(f"{self._ids[node.name]}.mask" if node.op == "dropout" else f"{self._ids[name]}.value")
                   for name in node.weights]
        return inputs + weights

    def _output(self, node: Node) -> Local:
        operands = self._operands(node)
        narrow = iter([value.astype(np.float32) for value in operands])
        made, _ = run.apply(node, narrow, self.bundle.arithmetic)
        return made.astype(np.float64), bounds.training_bound(node, operands)

    def _pulled_back(self, node: Node) -> list[Part]:
        """What a layer hands back to all that it reads, from the port's gradient of its output."""
        if node.name not in self.parts:
            self.parts[node.name] = list(self._parts(node))
        return self.parts[node.name]

    def _parts(self, node: Node) -> Iterator[Part]:
        operands, dy = self._operands(node), self._of(f"{self._ids[node.name]}.dout")
        _, saves = run.apply(node, iter(operands), "any")
        backward = DECLARED.get(node.op, OPERATORS[node.op].backward)
        gradients = backward(dy, *operands, **node.attrs, **saves)
        sizes = bounds.gradient_bounds(node, dy, operands)
        for name, gradient, bound in zip((*node.inputs, *node.weights), gradients, sizes, strict=False):
            if gradient is not None and bound is not None:
                yield name, gradient, bound

    def _handed_down(self, name: str) -> Local:
        """The gradient of a tensor: the loss's, or the sum of what its readers hand back."""
        if name == self.graph.output:
            y, labels = self._of(f"{self._ids[name]}.out"), self.bundle.tensor(self.case, "labels")
            _, made = _loss(self.told["loss"], self.graph, y.astype(np.float32), labels)
            probabilities = self.graph[name].op == "softmax"
            return made, bounds.loss_bound(self.told["loss"], y, labels, probabilities)
        parts = [part for node in self.graph.consumers()[name] for part in self._pulled_back(node) if part[0] == name]
        made, bound = _added(part[1] for part in parts), _added(part[2] for part in parts)
        return made, bound + gamma(len(parts)) * _added(np.abs(part[1]) for part in parts)

    def _weight(self, stem: str, role: str) -> Local:
        name = next(record["name"] for record in self.told["weights"] if record["id"] == stem)
        layer, _, variable = name.partition("/")
        if role == "batch":
            x = self._operands(self.graph[layer])[0]
            axes = (0, 1, 2)
            return (x.mean(axes) if variable == "moving_mean" else x.var(axes)), bounds.statistics_bounds(x)[variable]
        value = self._of(f"{stem}.value")
        if role == "step" and variable.startswith("moving_"):
            batch = self._of(f"{stem}.batch")
            made = moving_statistics(value, batch, BATCH_NORM_MOMENTUM)
            return made, bounds.bounded(np.abs(value) + np.abs(batch), 6)
        if role == "step":
            move = self.told["learning_rate"] * self._of(f"{stem}.grad")
            return value - move, bounds.bounded(np.abs(value) + np.abs(move), 4)
        parts = [part for node in self.graph if name in node.weights for part in self._pulled_back(node)
                 if part[0] == name]
        return _added(part[1] for part in parts), _added(part[2] for part in parts)


def _added(values: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of one array or more, in their order, from +0 on."""
    first, *others = values
    return sum(others, start=0 + first)
