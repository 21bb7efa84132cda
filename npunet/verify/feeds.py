"""What a port's layers were fed with: its own dump, and where that has a hole the reference run on what came before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from npunet.golden import manifest
from npunet.golden.bounds import Port, output_bound, rounded_up
from npunet.golden.reader import Bundle
from npunet.graph import Node

Values = Mapping[tuple[str, str], np.ndarray]


class Feeds:
    """The inputs of every layer of a network case as the port had them.

    values  : the port's tensors by (case, key)
    bounded : also how far a layer that the reference stood in for may be from the port's
    """

    def __init__(self, bundle: Bundle, values: Values, bounded: bool, port: Port) -> None:
        self.bundle, self.values, self.bounded, self.port = bundle, values, bounded, port
        self.ids = manifest.layer_ids(bundle.graph)
        self.names = {key: name for name, key in self.ids.items()}
        self.filled: dict[tuple[str, str], tuple[np.ndarray, tuple[str, ...]]] = {}
        self.slack: dict[tuple[str, str], np.ndarray] = {}

    def node(self, layer: str) -> Node:
        """The graph's node of a layer id."""
        return self.bundle.graph[self.names[layer]]

    def inputs(self, case: str, layer: str) -> tuple[list[np.ndarray], tuple[str, ...]]:
        """What a layer read, and the layers before it that were not dumped."""
        found = [self._feed(case, source) for source in self.bundle.layers[layer]["inputs"]]
        return [value for value, _ in found], tuple(dict.fromkeys(name for _, names in found for name in names))

    def slacks(self, case: str, layer: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """How far the port's inputs may be from those: 0, or the bound of layers that the reference stood in for."""
        sources = self.bundle.layers[layer]["inputs"]
        return [self.slack.get((case, name), np.zeros(x.shape)) for name, x in zip(sources, inputs, strict=True)]

    def _feed(self, case: str, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
        if source == "in":  # the port's own, where it shows it: what comes after is right for that, or not
            return self.values[case, "in"] if (case, "in") in self.values else self.bundle.tensor(case, "in"), ()
        if (case, f"{source}.out") in self.values:
            return self.values[case, f"{source}.out"], ()
        waiting = [] if (case, source) in self.filled else [source]
        while waiting:  # no recursion: a long network may be dumped at its end only
            layer = waiting[-1]
            before = [name for name in self.bundle.layers[layer]["inputs"] if self._missing(case, name)]
            if before:
                waiting += before
                continue
            waiting.pop()
            inputs, unseen = self.inputs(case, layer)
            self.filled[case, layer] = (self.bundle.run_layer(layer, inputs).out, (*unseen, layer))
            if self.bounded:
                slacks = self.slacks(case, layer, inputs)
                self.slack[case, layer] = output_bound(
                    self.node(layer), inputs, slacks, self.bundle.weights, self.port
                )
        return self.filled[case, source]

    def _missing(self, case: str, name: str) -> bool:
        return name != "in" and (case, f"{name}.out") not in self.values and (case, name) not in self.filled

    def replayed(self, case: str, layer: str, unseen: tuple[str, ...], wrong: str, out: np.ndarray) -> np.ndarray:
        """The output of a layer when `wrong`, one of the layers before it that were not dumped, gave `out`."""
        made = {wrong: out}
        for name in (*sorted(set(unseen), key=list(self.bundle.layers).index), layer):
            sources = self.bundle.layers[name]["inputs"]
            if name != wrong and any(source in made for source in sources):
                inputs = [made[key] if key in made else self._feed(case, key)[0] for key in sources]
                made[name] = self.bundle.run_layer(name, inputs).out
        return made[layer]

    def deltas(self, case: str) -> dict[str, np.ndarray]:
        """Bounds of the whole network up to every tensor, by tensor name."""
        graph = self.bundle.graph
        deltas = {graph.input: np.zeros(self.bundle.tensor(case, "in").shape)}
        for node in graph:
            inputs = self.bundle.inputs(case, self.ids[node.name])
            onward = output_bound(node, inputs, [deltas[name] for name in node.inputs], self.bundle.weights, self.port)
            deltas[node.name] = rounded_up(onward)
        return deltas
