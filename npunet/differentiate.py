"""One differentiation of a network: forward, loss, backward, regularisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet import run
from npunet.graph import Graph
from npunet.graph_check import check_graph
from npunet.layers import L2_FACTOR
from npunet.ops.regularise import l2_backward, l2_forward
from npunet.ops.table import LOSSES
from npunet.values import refuse_unknown


@dataclass(frozen=True)
class Differentiation:
    """Everything that one batch tells.

    loss       : scalar, regularisation included
    dweights   : gradient of every weight that has one, by name
    dx         : gradient of the input, (N, H, W, C)
    trace      : every tensor by name
    dtrace     : gradient of every tensor by name
    statistics : batch means and variances by the names of the moving statistics
    """

    loss: float
    dweights: dict[str, np.ndarray]
    dx: np.ndarray
    trace: dict[str, np.ndarray]
    dtrace: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def differentiate(graph: Graph, tensors: Mapping[str, np.ndarray], x: np.ndarray, labels: np.ndarray, *,
                  loss: str, l2: bool, **loss_options: Any) -> Differentiation:
    """Differentiate the loss of one batch.

    graph   : the network, as for_training() gives it or at inference
    tensors : weights by name, and the dropout masks of a training graph
    x       : (N, H, W, C);  labels : what the loss asks for
    """
    check_graph(graph)
    loss_forward, loss_backward, options = find_loss(loss, graph)
    refuse_unknown(f"loss {loss!r}", list(loss_options), list(loss_forward.__kwdefaults__ or {}))
    options |= loss_options
    trace, saves = run.forward(graph, tensors, x)
    value = loss_forward(trace[graph.output], labels, **options)
    dy = loss_backward(trace[graph.output], labels, **options)
    dtrace, dweights = run.backward(graph, tensors, trace, saves, dy)
    if l2:
        for spec in graph.weights.values():
            if spec.regularized:
                value = value + l2_forward(tensors[spec.name], L2_FACTOR)
                dweights[spec.name] = dweights[spec.name] + l2_backward(tensors[spec.name], L2_FACTOR)
    return Differentiation(value, dweights, dtrace[graph.input], trace, dtrace, batch_statistics(graph, saves))


def find_loss(name: str, graph: Graph) -> tuple[Any, Any, dict[str, Any]]:
    """A loss's forward, backward and options: it reads probabilities when the network ends in a softmax."""
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss={name!r} must be one of {', '.join(LOSSES)}")
    ends_in_softmax = bool(graph.nodes) and graph[graph.output].op == "softmax"
    options = {} if name == "mean_squared_error" else {"from_logits": not ends_in_softmax}
    return *LOSSES[name], options


def batch_statistics(graph: Graph, saves: run.Saves) -> dict[str, np.ndarray]:
    """What every training batch norm saw: {"<layer>/moving_mean": batch mean, ...}."""
    statistics = {}
    for node in graph:
        if node.op == "batch_norm_train":
            statistics[f"{node.name}/moving_mean"] = saves[node.name]["mean"]
            statistics[f"{node.name}/moving_variance"] = saves[node.name]["var"]
    return statistics
