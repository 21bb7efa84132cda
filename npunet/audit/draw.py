"""The drawn architecture as a file: SVG by itself, PNG by matplotlib."""

from __future__ import annotations

import io
from html import escape
from os import PathLike
from pathlib import Path

from npunet.audit.drawing import COLOURS, Arrow, Box, Drawing, Label, drawing
from npunet.extras import extra
from npunet.files import atomic_write
from npunet.graph import Graph

SUFFIXES = (".svg", ".png")
STYLE = """text { font-family: system-ui, sans-serif; fill: #333 } .arrow { fill: none; stroke: #777 }
.arrow.skip { stroke-width: 1.6 } .head { fill: #777 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .arrow { stroke: #999 } .head { fill: #999 } }"""


def save(path: str | PathLike[str], graph: Graph, title: str) -> None:
    """Draw a network into a file, atomically. Raises ValueError for another suffix than .svg and .png."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: a drawing is {' or '.join(SUFFIXES)}")
    drawn = drawing(graph, title)
    made = svg(drawn).encode() if suffix == ".svg" else png(drawn)
    with atomic_write(path) as file:
        file.write(made)


def svg(drawn: Drawing) -> str:
    """The drawing as one SVG element; every layer is a group of class "layer" with its name in data-layer."""
    size = f'width="{drawn.width:.0f}" height="{drawn.height:.0f}" viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="network" {size} role="group" '
             f'aria-label="{escape(drawn.title)}">', f"<style>{STYLE}</style>"]
    parts += [_arrow(arrow) for arrow in drawn.arrows]
    parts += [_box(box) for box in drawn.boxes]
    title, *labels = drawn.labels
    parts += [_label(title).replace("<text", '<text class="title"', 1), *map(_label, labels)]
    parts += _legend(drawn)
    return "\n".join((*parts, "</svg>\n"))


def _box(box: Box) -> str:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    return (f'<g class="layer {box.kind}" data-layer="{escape(box.layer)}"><title>{escape(box.told)}</title>'
            f'<rect {place} fill="{COLOURS[box.kind]}"/></g>')


def _arrow(arrow: Arrow) -> str:
    x0, y0, x1, y1 = arrow.x0, arrow.y0, arrow.x1, arrow.y1
    if arrow.sag:
        path = f"M{x0:.1f} {y0:.1f} C{x0:.1f} {y0 + arrow.sag:.1f} {x1:.1f} {y1 + arrow.sag:.1f} {x1:.1f} {y1:.1f}"
        return f'<path class="arrow arc" d="{path}"/>'
    path = f'<path class="arrow {arrow.kind}" d="M{x0:.1f} {y0:.1f} L{x1:.1f} {y1:.1f}"/>'
    if arrow.kind != "skip":
        return path
    return path + f'<path class="head" d="M{x1:.1f} {y1:.1f} l-7 -3.5 v7 z"/>'


def _label(label: Label) -> str:
    anchor = ' text-anchor="middle"' if label.centred else ""
    return f'<text x="{label.x:.1f}" y="{label.y:.1f}" font-size="{label.size:g}"{anchor}>{escape(label.text)}</text>'


def _legend(drawn: Drawing) -> list[str]:
    parts, x, y = [], 14.0, drawn.height - 12
    for kind in drawn.kinds:
        parts.append(f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="10" height="10" fill="{COLOURS[kind]}"/>')
        parts.append(_label(Label(x + 14, y, kind, 10, False)))
        x += 24 + 6.2 * len(kind)
    return parts


def png(drawn: Drawing, scale: float = 2.0) -> bytes:
    """The drawing as PNG. Raises MissingExtra without matplotlib."""
    figure_module = extra("matplotlib.figure", "plot")
    patches, paths = extra("matplotlib.patches", "plot"), extra("matplotlib.path", "plot")
    figure = figure_module.Figure(figsize=(drawn.width / 100, drawn.height / 100), dpi=100 * scale)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, drawn.width), ylim=(drawn.height, 0))
    axes.set_axis_off()
    for arrow in drawn.arrows:
        points = [(arrow.x0, arrow.y0), (arrow.x0, arrow.y0 + arrow.sag), (arrow.x1, arrow.y1 + arrow.sag),
                  (arrow.x1, arrow.y1)]
        codes = [paths.Path.MOVETO] + [paths.Path.CURVE4] * 3
        axes.add_patch(patches.PathPatch(paths.Path(points, codes), fill=False, edgecolor="#777", linewidth=0.8))
        if arrow.kind == "skip":
            head = [(arrow.x1, arrow.y1), (arrow.x1 - 7, arrow.y1 - 3.5), (arrow.x1 - 7, arrow.y1 + 3.5)]
            axes.add_patch(patches.Polygon(head, color="#777", linewidth=0))
    for box in drawn.boxes:
        axes.add_patch(patches.Rectangle((box.x, box.y), box.width, box.height, color=COLOURS[box.kind], linewidth=0))
    for label in drawn.labels:
        axes.text(label.x, label.y, label.text, fontsize=label.size * 0.72, color="#333")
    x = 14.0
    for kind in drawn.kinds:
        axes.add_patch(patches.Rectangle((x, drawn.height - 21), 10, 10, color=COLOURS[kind], linewidth=0))
        axes.text(x + 14, drawn.height - 12, kind, fontsize=7.2, color="#333")
        x += 24 + 6.2 * len(kind)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
