"""The layer table: what each layer is, what it gives, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from npunet.graph import Graph, Node
from npunet.ops.table import OPERATORS


class Row(NamedTuple):
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
    parameters = sum(spec.size for spec in graph.weights.values())
    trainable = sum(spec.size for spec in graph.weights.values() if spec.trainable)
    at = "x".join(map(str, graph.input_shape))
    totals = (f"{parameters:,} parameters ({trainable:,} trainable), "
              f"{sum(row.macs for row in rows(graph)):,} MACs a sample at {at}")
    return "\n".join([f"{title}  input {input_shape}", *laid_out(header, lines, 3), totals])


def laid_out(header: tuple[str, ...], lines: Sequence[tuple[str, ...]], words: int) -> list[str]:
    """Rows of cells in columns of one width each: the first `words` begin at the left, the others end at the right."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return ["  ".join(cell.ljust(width) if at < words else cell.rjust(width)
                      for at, (cell, width) in enumerate(zip(line, widths, strict=True))) for line in (header, *lines)]
