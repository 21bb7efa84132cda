"""Signals with their waves as SVG text: the whole recording, which the wheel zooms into where a browser shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np

from npunet.evaluate.signal_layout import GRID, INK, PALETTE, PAPER, Row, SignalPicture, colour, envelope, segments

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1200, 150, 18, 78, 44
POINTS = 120_000  # of all strips together: what a browser zooms smoothly, and a few megabytes
WAVES = 20_000  # of all strips together, beyond which waves are drawn as pixels

# The strips lie in an inner <svg> whose coordinates are samples; zooming changes its viewBox and draws the axis anew.
SCRIPT = """
const T = %s, box = document.getElementById("strips"), axis = document.getElementById("axis");
const at = document.getElementById("at"), NS = "http://www.w3.org/2000/svg";
let from = 0, span = T.span, held = null;
const sample = e => from + (new DOMPoint(e.clientX, e.clientY).matrixTransform(
  document.documentElement.getScreenCTM().inverse()).x - T.left) / T.width * span;
const row = e => Math.floor((new DOMPoint(e.clientX, e.clientY).matrixTransform(
  document.documentElement.getScreenCTM().inverse()).y - T.top) / T.height);
function put(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  axis.appendChild(made);
}
function draw() {
  span = Math.min(T.span, Math.max(8, span));
  from = Math.min(T.span - span, Math.max(0, from));
  box.setAttribute("viewBox", [from, 0, span, T.height * T.starts.length].join(" "));
  const first = T.origin + from / T.rate, rough = span / T.rate / 12;
  let step = 10 ** Math.floor(Math.log10(rough));
  step *= [1, 2, 5, 10, 20].find(digit => digit * step >= rough);
  axis.replaceChildren();
  for (let i = Math.ceil(first / step); i * step <= first + span / T.rate; i++) {
    const x = T.left + ((i * step - T.origin) * T.rate - from) / span * T.width;
    const low = T.top + T.height * T.starts.length;
    put("path", {d: `M${x} ${T.top}V${low}`, stroke: T.grid});
    put("text", {x, y: low + 17, "text-anchor": "middle", "font-size": 12}, String(+(i * step).toPrecision(9)));
  }
}
addEventListener("wheel", e => {
  const fixed = sample(e), share = (fixed - from) / span;
  e.preventDefault();
  span = Math.min(T.span, Math.max(8, span * (e.deltaY < 0 ? 0.8 : 1.25)));
  from = fixed - share * span;
  draw();
}, {passive: false});
addEventListener("pointerdown", e => { held = sample(e); });
addEventListener("pointerup", () => { held = null; });
addEventListener("dblclick", () => { from = 0; span = T.span; draw(); });
addEventListener("pointermove", e => {
  if (held !== null) { from += held - sample(e); draw(); }
  const number = row(e), where = sample(e);
  at.textContent = T.starts[number] === undefined || where < from || where > from + span ? T.hint :
    T.names[number] + " at " + ((T.starts[number] + where) / T.rate).toFixed(T.rate > 1 ? 3 : 0) + " " + T.axis;
});
"""
HINT = "in a browser: wheel to zoom, drag to move, double click for the whole"


def signal_svg(picture: SignalPicture) -> str:
    """A signal picture as SVG text."""
    rows = len(picture.rows)
    height = {1: 190, 2: 150, 3: 120}.get(rows, 72)
    width, bottom = WIDTH - LEFT - RIGHT, TOP + height * rows
    scale = width / picture.span
    parts = [*head(WIDTH, bottom + BOTTOM, picture.title), *legend(picture.class_names, picture.legend)]
    parts.append('<g id="axis">')
    for position, text in picture.ticks:
        x = LEFT + position * scale
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle" font-size="12">{text}</text>')
    parts.append("</g>")
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 36}" text-anchor="middle" '
                 f'font-size="12">{picture.axis}</text>')
    for number, row in enumerate(picture.rows):
        parts += _labels(row, TOP + number * height, height, " ".join([row.name, *picture.begins(row)]))
    if picture.unit:
        parts.append(f'<text x="{LEFT - 7}" y="{TOP - 5}" text-anchor="end" font-size="12">{escape(picture.unit)}'
                     '</text>')
    parts.append(f'<svg id="strips" x="{LEFT}" y="{TOP}" width="{width}" height="{height * rows}" '
                 f'viewBox="0 0 {picture.span} {height * rows}" preserveAspectRatio="none">')
    for number, row in enumerate(picture.rows):
        parts += _strip(row, number * height, height, rows)
    parts.append("</svg>")
    parts += _zoom(picture, height)
    return "\n".join([*parts, "</svg>", ""])


def _labels(row: Row, top: float, height: float, name: str) -> list[str]:
    """A strip's name, and its axis of values."""
    parts = [f'<path d="M{LEFT} {top + height}H{WIDTH - RIGHT}" stroke="{GRID}"/>',
             f'<text x="10" y="{top + height / 2 + 4}" font-size="13" font-weight="600">{escape(name)}</text>']
    low, high = row.range
    for value in row.heights(max(1, int(height / 24))):
        y = top + _y(np.array([value]), low, high, row, height)[0]
        parts.append(f'<path d="M{LEFT - 4} {y:.1f}H{LEFT}" stroke="{INK}" stroke-width="0.7"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end" font-size="10" fill="#555">'
                     f'{value:.6g}</text>')
    return parts


def _strip(row: Row, top: float, height: float, rows: int) -> list[str]:
    """A strip in samples across and pixels down: its waves, the bar of the annotation, and the signal."""
    bar = _bar(row)
    parts = []
    for labels, y, tall, opacity in ((row.labels, top + 2, height - 4 - bar, 0.24),
                                     (row.reference, top + height - bar - 1, bar - 1, 1)):
        if labels is not None:
            parts += [f'<path d="{path}" fill="{colour(label)}" fill-opacity="{opacity}"/>'
                      for label, path in _boxes(labels, y, tall, WAVES // rows).items()]
    positions, values = envelope(row.values, max(WIDTH, POINTS // (4 * rows)))
    heights = top + _y(values, *row.range, row, height)
    for stretch in np.split(np.arange(len(values)), np.flatnonzero(np.isnan(values))):
        known = stretch[~np.isnan(values[stretch])]
        if known.size:
            points = " ".join(f"{positions[at] + 0.5:g},{heights[at]:.1f}" for at in known)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="1.1" '
                         'stroke-linejoin="round" vector-effect="non-scaling-stroke"/>')
    return parts


def _bar(row: Row) -> int:
    """Pixels that the annotation takes."""
    return 0 if row.reference is None else 9


def _y(values: np.ndarray, low: float, high: float, row: Row, height: float) -> np.ndarray:
    """Where values stand in a strip, in pixels from its top."""
    return 8 + (high - values) / (high - low) * (height - 18 - _bar(row))


def _boxes(labels: np.ndarray, top: float, tall: float, most: int) -> dict[int, str]:
    """For each class the boxes of its waves, as one path. Beyond `most` waves, so many stretches are each what their
    middle is."""
    found = segments(labels)
    if len(found) > most:
        edges = np.linspace(0, len(labels), most + 1).astype(int)
        found = [(int(edges[a]), int(edges[b]), label)
                 for a, b, label in segments(labels[(edges[:-1] + edges[1:]) // 2])]
    paths: dict[int, list[str]] = {}
    for start, stop, label in found:
        paths.setdefault(label, []).append(f"M{start} {top:g}h{stop - start}v{tall:g}h{start - stop}z")
    return {label: "".join(each) for label, each in paths.items()}


def _zoom(picture: SignalPicture, height: int) -> list[str]:
    rate = picture.rate or 1
    starts = [row.start if picture.wrapped else picture.origin * rate for row in picture.rows]
    told = {"span": picture.span, "rate": rate, "origin": picture.origin, "left": LEFT, "top": TOP, "height": height,
            "width": WIDTH - LEFT - RIGHT, "grid": GRID, "axis": picture.axis, "hint": HINT,
            "names": [row.name for row in picture.rows], "starts": starts}
    script = SCRIPT.replace("%s", json.dumps(told).replace("]]>", "]] >"), 1)
    return [f'<text id="at" x="{LEFT}" y="{TOP - 7}" font-size="11" fill="#777">{HINT}</text>',
            f"<script><![CDATA[{script}]]></script>"]


def head(width: int, height: int, title: str) -> list[str]:
    """The beginning of an SVG file: its size, paper and title."""
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
            f'<text x="{LEFT}" y="32" font-size="18" font-weight="600">{escape(title)}</text>']


def legend(class_names: Sequence[str], reading: str, palette: Sequence[str] = PALETTE) -> list[str]:
    """How to read the picture, on the left, and the colours of the classes, on the right."""
    parts, x = [f'<text x="{LEFT}" y="56" font-size="13" fill="#555">{escape(reading)}</text>'], WIDTH - RIGHT
    for label in range(len(class_names) - 1, 0, -1):
        name = class_names[label]
        x -= 8 * len(name) + 14
        parts.append(f'<text x="{x + 6}" y="56" font-size="13">{escape(name)}</text>')
        parts.append(f'<rect x="{x - 14}" y="45" width="14" height="14" fill="{colour(label, palette)}" '
                     'fill-opacity="0.6"/>')
        x -= 26
    return parts
