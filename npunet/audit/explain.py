"""One number of a network and everything that it was made from, in the declared order, with the declared bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from npunet import run
from npunet.audit.explanation import Explanation, Index
from npunet.audit.rules import RULES, Scene
from npunet.audit.subject import Subject
from npunet.deploy import split_separable
from npunet.graph import Node
from npunet.layer_values import unknown_layer
from npunet.limits import entry_of


def explain(shown: Subject, layer: str, index: Sequence[int], arithmetic: str = "seq_fma") -> Explanation:
    """Take one number of a network apart.

    layer      : a layer's name, or "<layer>/depthwise" for the first half of a separable convolution
    index      : (row, column, channel), or (position, channel) of a signal
    arithmetic : "seq" or "seq_fma"

    Raises ValueError for a layer or an index that is not there, or another arithmetic.
    """
    if arithmetic not in ("seq", "seq_fma"):
        raise ValueError(f"arithmetic={arithmetic!r} must be seq or seq_fma, whose order of sums is declared")
    names = [shown.graph.input, *with_halves(shown)]
    if layer not in names:
        raise ValueError(unknown_layer(layer, names))
    return taken_apart(shown, trace_of(shown, arithmetic), layer, index, arithmetic)


def taken_apart(shown: Subject, values: Mapping[str, np.ndarray], layer: str, index: Sequence[int],
                arithmetic: str) -> Explanation:
    """explain, with trace_of at hand."""
    place = placed(layer, index, values[layer].shape)
    value = values[layer][place]
    if layer == shown.graph.input:
        return Explanation(layer, place, "input", arithmetic, value)
    node = with_halves(shown)[layer]
    weights = [shown.weights[name] for name in node.weights]
    rule = entry_of(RULES, node, "explain", "see its whole output with trace")
    found = rule(Scene(node, [values[name] for name in node.inputs], weights, arithmetic), place)
    return replace(found, layer=layer, index=place, op=node.op, arithmetic=arithmetic, value=value)


def with_halves(shown: Subject) -> dict[str, Node]:
    """Every layer by name, a separable convolution as its two halves."""
    nodes: dict[str, Node] = {}
    for node in shown.graph:
        halves = split_separable(node, shown.graph) if node.op == "separable_conv2d" else [node]
        nodes.update((half.name, half) for half in halves)
    return nodes


def trace_of(shown: Subject, arithmetic: str) -> dict[str, np.ndarray]:
    """Every tensor (H, W, C) by name, that between the halves of a separable convolution included."""
    values = {shown.graph.input: shown.x[None]}
    for node in with_halves(shown).values():
        values[node.name], _ = run.apply(node, run.operands(node, values, shown.weights), arithmetic)
    return {name: value[0] for name, value in values.items()}


def placed(layer: str, index: Sequence[int], shape: tuple[int, ...]) -> Index:
    """An index of a tensor (H, W, C). Raises ValueError where it is none."""
    place = (0, *index) if len(index) == 2 and shape[0] == 1 else tuple(index)
    if len(place) != 3 or not all(0 <= k < size for k, size in zip(place, shape, strict=True)):
        wanted = f"[0..{shape[1] - 1}, 0..{shape[2] - 1}]" if shape[0] == 1 else \
            f"[0..{shape[0] - 1}, 0..{shape[1] - 1}, 0..{shape[2] - 1}]"
        raise ValueError(f"{layer}{list(index)} is not there: an index of {layer} is {wanted} "
                         f"({'position' if shape[0] == 1 else 'row, column'}, channel)")
    return place
