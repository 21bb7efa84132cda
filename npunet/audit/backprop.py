"""The gradient of one number of a network, and which numbers hand how much of it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npunet import run
from npunet.audit.explain import placed
from npunet.audit.subject import Subject
from npunet.differentiate import Differentiation, differentiate
from npunet.layer_values import unknown_layer

STEP = 1e-30  # of the complex step: small enough that its square vanishes


@dataclass(frozen=True)
class Share:
    """One number that depends on the explained one: its own gradient, and its slope."""

    layer: str
    index: tuple[int, ...]
    dy: float
    slope: float


@dataclass(frozen=True)
class Backward:
    """d loss / d one number, which is the sum over `shares` of dy * slope."""

    layer: str
    index: tuple[int, ...]
    loss: str
    value: float
    gradient: float
    is_output: bool
    shares: Sequence[Share]


def differentiated(shown: Subject, labels: np.ndarray | None, loss: str) -> Differentiation:
    """Everything differentiated in float64, batch norm by its stored statistics.

    labels : (H, W) classes; None for the network's own likeliest classes
    """
    weights = {name: value.astype(np.float64) for name, value in shown.weights.items()}
    x = shown.x[None].astype(np.float64)
    if labels is None:
        labels = run.infer(shown.graph, weights, x)[0].argmax(-1)
    return differentiate(shown.graph, weights, x, labels[None], loss=loss, l2=False)


def explain_gradient(shown: Subject, layer: str, index: Sequence[int], labels: np.ndarray | None = None,
                     loss: str = "sparse_categorical_crossentropy") -> Backward:
    """The gradient of one number, and from where it comes.

    The slopes d y / d x are complex steps through the one operator between, so exact to float64.
    Arguments as explain's and differentiated's. Raises ValueError for a layer, an index or a loss that is not there.
    """
    return gradient_apart(shown, differentiated(shown, labels, loss), layer, index, loss)


def gradient_apart(shown: Subject, result: Differentiation, layer: str, index: Sequence[int], loss: str) -> Backward:
    """explain_gradient, with everything differentiated already."""
    if layer not in result.dtrace:
        raise ValueError(unknown_layer(layer, result.dtrace))
    place = placed(layer, index, result.trace[layer].shape[1:])
    shares = [share for node in shown.graph.consumers()[layer]
              for share in handed_back(shown, result, node.name, layer, place)]
    return Backward(layer, place, loss, float(result.loss), float(result.dtrace[layer][(0, *place)]),
                    layer == shown.graph.output, shares)


def handed_back(shown: Subject, result: Differentiation, reader: str, layer: str,
                place: tuple[int, ...]) -> list[Share]:
    """What one reader of a layer hands back to one of its numbers: an entry for every output whose slope is not 0."""
    node = shown.graph[reader]
    values = dict(result.trace)
    values[layer] = values[layer].astype(complex)
    values[layer][(0, *place)] += 1j * STEP
    arrays = run.operands(node, values, shown.weights)
    y, _ = run.apply(node, (array.astype(complex) for array in arrays), "any")
    slopes = y.imag[0] / STEP
    return [Share(reader, tuple(map(int, at)), float(result.dtrace[reader][(0, *at)]), float(slopes[tuple(at)]))
            for at in np.argwhere(slopes)]
