"""A picture of a verification: every layer's error beside its bound along the network, the first divergence marked."""

from __future__ import annotations

import os
from html import escape
from math import floor, isfinite, log10
from pathlib import Path

from npunet.extras import extra
from npunet.files import atomic_write, write_text
from npunet.verify.results import FAIL, INHERITED, PASS, Result

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1100, 380, 74, 20, 60, 70
COLOURS = {PASS: "#009E73", INHERITED: "#E69F00", FAIL: "#D55E00"}
INK, GRID, BOUND = "#1a1a1a", "#dddddd", "#0072B2"
FLOOR = 1e-10  # what is drawn for an error of 0


def points(result: Result) -> list[tuple[str, str, float, float | None]]:
    """(id, status, largest error, bound at the share used) of every layer that was checked."""
    listed = []
    for layer in result.layers:
        if layer.worst is None:
            continue
        found = layer.worst.chained
        bound = found.max_abs / found.share if found.share else None
        listed.append((layer.record["id"], layer.status, found.max_abs if isfinite(found.max_abs) else 0.0, bound))
    return listed


def suffix(path: str | os.PathLike[str]) -> str:
    """ ".svg" or ".png". Raises ValueError."""
    ending = Path(path).suffix.lower()
    if ending not in (".svg", ".png"):
        raise ValueError(f"cannot draw {path}: the suffix must be .svg or .png")
    return ending


def save(path: str | os.PathLike[str], result: Result) -> None:
    """Write the picture. Raises ValueError for another suffix, MissingExtra for .png without matplotlib."""
    if suffix(path) == ".svg":
        write_text(path, svg(result))
    else:
        _png(path, result)


def svg(result: Result) -> str:
    """The picture as SVG; lines and dots with a title each, so that a browser shows which layer it is."""
    listed = points(result)
    sizes = [value for _, _, error, bound in listed for value in (error, bound) if value]
    low = floor(log10(min(sizes, default=1e-6))) - 1
    high = floor(log10(max(sizes, default=1.0))) + 1
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(number: int) -> float:
        return LEFT + width * (number + 0.5) / max(1, len(listed))

    def y(value: float) -> float:
        at = log10(value) if value > 0 else low
        return TOP + height * (high - max(low, min(high, at))) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title(result))}</text>',
    ]
    step = max(1, (high - low) // 8)
    for power in range(low, high + 1, step):
        at = y(10.0**power)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{GRID}"/>',
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{"0" if power == low else f"1e{power}"}</text>',
        ]
    bounds = [(number, bound) for number, (_, _, _, bound) in enumerate(listed) if bound]
    if bounds:
        line = " ".join(f"{x(number):.1f},{y(bound):.1f}" for number, bound in bounds)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{BOUND}" stroke-dasharray="4 3"/>')
    first = result.first
    for number, (layer, status, error, bound) in enumerate(listed):
        told = f"{layer}: {error:.3g}" + (f", bound {bound:.3g}" if bound else "") + f", {status}"
        if first is not None and layer == first.record["id"]:
            parts += [
                f'<line x1="{x(number):.1f}" x2="{x(number):.1f}" y1="{TOP}" y2="{TOP + height}" '
                f'stroke="{COLOURS[FAIL]}" stroke-width="2"/>',
                f'<text x="{min(x(number) + 5, WIDTH - 260):.1f}" y="{TOP - 8}" fill="{COLOURS[FAIL]}">first '
                f"divergence: {escape(layer)}</text>",
            ]
        parts.append(
            f'<circle cx="{x(number):.1f}" cy="{y(error):.1f}" r="3.5" fill="{COLOURS.get(status, INK)}">'
            f"<title>{escape(told)}</title></circle>"
        )
    for number in range(0, len(listed), max(1, len(listed) // 16)):
        parts.append(
            f'<text x="{x(number):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{escape(listed[number][0][:4])}</text>"
        )
    parts.append(_legend())
    return "\n".join([*parts, "</svg>", ""])


def title(result: Result) -> str:
    """The heading of every picture and page."""
    return f"{result.bundle['model']}: largest error of every layer ({result.verdict})"


def _legend() -> str:
    items, at = [], LEFT
    for status, colour in COLOURS.items():
        items.append(
            f'<circle cx="{at}" cy="{HEIGHT - 18}" r="4" fill="{colour}"/>'
            f'<text x="{at + 9}" y="{HEIGHT - 14}">{status}</text>'
        )
        at += 110
    return "\n".join([*items, f'<text x="{at}" y="{HEIGHT - 14}">dashed: derived bound; 0: bit for bit</text>'])


def _png(path: str | os.PathLike[str], result: Result) -> None:
    figure = extra("matplotlib.figure", "plot").Figure(figsize=(11, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    listed = points(result)
    for status, colour in COLOURS.items():
        at = [number for number, point in enumerate(listed) if point[1] == status]
        axes.plot(at, [max(listed[number][2], FLOOR) for number in at], "o", color=colour, label=status, markersize=4)
    bounds = [(number, point[3]) for number, point in enumerate(listed) if point[3]]
    if bounds:
        axes.plot(*zip(*bounds, strict=True), "--", color=BOUND, label="derived bound")
    first = result.first
    for number, point in enumerate(listed):
        if first is not None and point[0] == first.record["id"]:
            axes.axvline(number, color=COLOURS[FAIL])
            axes.annotate(f"first divergence: {point[0]}", (number, 1.0), xycoords=("data", "axes fraction"),
                          xytext=(0, 3), textcoords="offset points")
    axes.set(yscale="log", xlabel="layer", ylabel="largest error")
    axes.set_title(title(result), pad=16)
    axes.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
