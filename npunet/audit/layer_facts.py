"""What a page or a report says of a layer beside its numbers."""

from __future__ import annotations

from npunet.graph import Graph
from npunet.inference.receptive import dependencies


def sees(graph: Graph, name: str) -> str:
    """The receptive field of a layer's middle output, in words."""
    height, width, _ = graph.shape(name)
    rows, columns = (interval(graph, name, axis, size // 2) for axis, size in enumerate((height, width)))
    if rows is None or columns is None:
        return "none of the input"
    across = columns[1] - columns[0] + 1
    if graph.input_shape[0] == 1:
        return (f"{across} of {graph.input_shape[1]} samples: its output {width // 2} depends on inputs "
                f"{columns[0]} to {columns[1]}")
    down = rows[1] - rows[0] + 1
    return (f"{down} x {across} of {graph.input_shape[0]} x {graph.input_shape[1]} pixels: its output [{height // 2}, "
            f"{width // 2}] depends on rows {rows[0]} to {rows[1]}, columns {columns[0]} to {columns[1]}")


def interval(graph: Graph, name: str, axis: int, position: int) -> tuple[int, int] | None:
    """The first and last input position that one position of a layer depends on; None if on none."""
    reached = dependencies(graph, axis, [position], of=name).get(graph.input)
    return None if reached is None or not len(reached) else (int(reached[0]), int(reached[-1]))
