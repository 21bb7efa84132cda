"""What every layer costs: parameters, multiply-accumulates, bytes; and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from npunet import summary
from npunet.audit.layer_facts import sees
from npunet.graph import Graph

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerCost:
    """One layer for one sample: output (H, W, C), weights, multiply-accumulates, bytes of its output as float32.

    sees : its receptive field in words
    """

    name: str
    op: str
    shape: tuple[int, int, int]
    parameters: int
    macs: int
    bytes: int
    sees: str


@dataclass(frozen=True)
class Costs:
    """The layers and their sums. One multiply-accumulate (MAC) is two floating-point operations (FLOPs).

    trainable    : of the parameters
    weight_bytes : all weights as float32
    """

    layers: Sequence[LayerCost]
    parameters: int
    trainable: int
    macs: int
    flops: int
    weight_bytes: int


def costs(graph: Graph) -> Costs:
    """Count."""
    layers = [LayerCost(row.name, row.op, row.shape, row.parameters, row.macs, FLOAT_BYTES * prod(row.shape),
                        sees(graph, row.name)) for row in summary.rows(graph)]
    parameters = sum(spec.size for spec in graph.weights.values())
    trainable = sum(spec.size for spec in graph.weights.values() if spec.trainable)
    macs = sum(layer.macs for layer in layers)
    return Costs(layers, parameters, trainable, macs, 2 * macs, FLOAT_BYTES * parameters)
