"""The layer table: what each layer is, what it gives, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from npunet.graph import Graph, Node
from npunet.ops.table import OPERATORS


@dataclass(frozen=True)
class Row:
    """One layer: output shape (H, W, C), number of weights, multiply-accumulates for one sample."""

    name: str
    op: str
    shape: tuple[int, int, int]
    parameters: int
    macs: int


def rows(graph: Graph) -> list[Row]:
    """One row a layer, in execution order."""
    return [Row(node.name, node.op, node.shape, sum(graph.weights[name].size for name in node.weights),
                macs(graph, node)) for node in graph]


def macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of one layer for one sample; what multiplies no weights, or is unknown, counts nothing."""
    cost = OPERATORS[node.op].macs if node.op in OPERATORS else None
    return 0 if cost is None else cost(node.shape, *(graph.weights[name].shape for name in node.weights))


def table(graph: Graph, input_shape: tuple[int | None, ...], title: str) -> str:
    """The rows as text, with totals."""
    lines = [(row.name, row.op, "x".join(map(str, row.shape)), f"{row.parameters:,}", f"{row.macs:,}")
             for row in rows(graph)]
    header = ("layer", "operator", "output HxWxC", "parameters", "MACs")
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(5)]

    def show(line: tuple[str, ...]) -> str:
        left = (cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True))
        right = (cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True))
        return "  ".join((*left, *right))

    parameters = sum(spec.size for spec in graph.weights.values())
    trainable = sum(spec.size for spec in graph.weights.values() if spec.trainable)
    at = "x".join(map(str, graph.input_shape))
    totals = (f"{parameters:,} parameters ({trainable:,} trainable), "
              f"{sum(row.macs for row in rows(graph)):,} MACs a sample at {at}")
    return "\n".join([f"{title}  input {input_shape}", show(header), *map(show, lines), totals])
