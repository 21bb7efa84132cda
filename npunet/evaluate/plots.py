"""Pictures of what a network says: a signal with its segments shaded, an image under its mask.

SVG and image PNG are written here, without any other package; a signal as PNG is drawn by matplotlib.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from npunet.extras import extra
from npunet.files import atomic_write, write_text

# Colours of classes 1, 2, ... that colour-blind readers tell apart (Okabe & Ito 2008); class 0 has none.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
ON_IMAGES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#F0E442", "#0072B2")  # stand out from grey
UNMARKED = 255  # in a reference: nobody has looked here
INK, GRID, PAPER = "#1a1a1a", "#dddddd", "#ffffff"
MAX_ROWS = 24
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1200, 100, 18, 78, 44


@dataclass(frozen=True)
class Row:
    """One strip of a signal picture: values and classes of equal length (n,), from sample `start` on."""

    name: str
    values: np.ndarray
    labels: np.ndarray
    reference: np.ndarray | None
    start: int


@dataclass(frozen=True)
class SignalPicture:
    """Everything that a signal picture shows, before anyone draws it.

    rows : strips from the top; each spans `span` samples of the shared axis
    rate : samples per second, or None for an axis in samples
    """

    title: str
    rows: list[Row]
    span: int
    class_names: Sequence[str]
    rate: float | None

    @property
    def ticks(self) -> list[tuple[int, str]]:
        """Positions on the axis, in samples, and what stands there."""
        unit = self.span / (self.rate or 1)
        step = next(s for s in _STEPS if unit / s <= 12)
        count = int(unit / step + 1e-9) + 1
        return [(round(i * step * (self.rate or 1)), f"{i * step:g}") for i in range(count)]

    @property
    def axis(self) -> str:
        """What the axis counts."""
        return "seconds" if self.rate else "samples"

    def begins(self, row: Row) -> list[str]:
        """Where a strip begins, in words, if not at the start."""
        return [f"{row.start / self.rate:g} s" if self.rate else str(row.start)] if row.start else []

    @property
    def legend(self) -> str:
        """How to read the strips."""
        bars = [row.reference for row in self.rows if row.reference is not None]
        grey = ", grey where there is none" if any((bar == UNMARKED).any() for bar in bars) else ""
        return "shaded: predicted" + (f"; bar below: annotation{grey}" if bars else "")


_STEPS = [digit * 10.0**power for power in range(-3, 13) for digit in (1, 2, 5)]


def signal_picture(signals: np.ndarray, labels: np.ndarray, *, title: str, names: Sequence[str],
                   class_names: Sequence[str], rate: float | None = None, reference: np.ndarray | None = None,
                   row_length: int | None = None) -> SignalPicture:
    """Lay out signals: one strip each, or several for a single long one.

    signals    : (B, L), drawn at whatever scale fills a strip
    labels     : (B, L) predicted class of each sample
    reference  : (B, L) annotated classes, drawn as a bar below; UNMARKED where there is no annotation
    row_length : samples after which a single signal goes on in the next strip (10 s, or 1000 samples)

    No more than MAX_ROWS strips are kept; the title says so.
    """
    length = signals.shape[1]
    row_length = row_length or (round(10 * rate) if rate else 1000)
    span = row_length if len(signals) == 1 and length > 1.5 * row_length else length
    rows = []
    for index, name in enumerate(name if len(name) <= 10 else f"{name[:9]}…" for name in names):
        for start in range(0, length, span):
            part = slice(start, start + span)
            marked = None if reference is None else reference[index, part]
            rows.append(Row(name, signals[index, part], labels[index, part], marked, start))
    if len(rows) > MAX_ROWS:
        title += f" (the first {MAX_ROWS} of {len(rows)} strips)"
    return SignalPicture(title, rows[:MAX_ROWS], span, class_names, rate)


def save_signal(path: str | os.PathLike[str], picture: SignalPicture) -> None:
    """Draw a signal picture into an .svg or, with matplotlib, a .png file. Raises ValueError for other suffixes."""
    if suffix(path) == ".svg":
        write_text(path, signal_svg(picture))
    else:
        _signal_png(path, picture)


def signal_svg(picture: SignalPicture) -> str:
    """A signal picture as SVG text."""
    height = {1: 190, 2: 150, 3: 120}.get(len(picture.rows), 72)
    bottom = TOP + height * len(picture.rows)
    scale = (WIDTH - LEFT - RIGHT) / picture.span
    parts = [*_head(WIDTH, bottom + BOTTOM, picture.title), *_legend(picture.class_names, picture.legend)]
    for position, text in picture.ticks:
        x = LEFT + position * scale
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle" font-size="12">{text}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 36}" text-anchor="middle" '
                 f'font-size="12">{picture.axis}</text>')
    for number, row in enumerate(picture.rows):
        top = TOP + number * height
        parts += _strip(row, top, height, scale)
        parts.append(f'<text x="{LEFT - 10}" y="{top + height / 2 + 4}" text-anchor="end" font-size="13" '
                     f'font-weight="600">{escape(" ".join([row.name, *picture.begins(row)]))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _strip(row: Row, top: float, height: float, scale: float) -> list[str]:
    bar = 0 if row.reference is None else 9
    parts = [f'<path d="M{LEFT} {top + height}H{WIDTH - RIGHT}" stroke="{GRID}"/>']
    for labels, y, tall, opacity in ((row.labels, top + 2, height - 4 - bar, 0.24),
                                     (row.reference, top + height - bar - 1, bar - 1, 1)):
        if labels is not None:
            parts += [f'<rect x="{LEFT + start * scale:.1f}" y="{y}" width="{(stop - start) * scale:.1f}" '
                      f'height="{tall}" fill="{colour(label)}" fill-opacity="{opacity}"/>'
                      for start, stop, label in segments(labels)]
    positions, values = envelope(row.values, WIDTH - LEFT - RIGHT)
    low, high = float(values.min()), float(values.max())
    heights = top + 8 + (high - values) / ((high - low) or 1) * (height - 18 - bar)
    points = " ".join(f"{LEFT + (x + 0.5) * scale:.1f},{y:.1f}" for x, y in zip(positions, heights, strict=True))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="1.1" stroke-linejoin="round"/>')
    return parts


def _signal_png(path: str | os.PathLike[str], picture: SignalPicture) -> None:
    figure = extra("matplotlib.figure", "plot").Figure(figsize=(12, 1.1 + 0.9 * max(len(picture.rows), 2)), dpi=120)
    axes = figure.subplots(len(picture.rows), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.0})[:, 0]
    for axis, row in zip(axes, picture.rows, strict=True):
        axis.plot(np.arange(len(row.values)) + 0.5, row.values, color=INK, linewidth=0.9)
        for start, stop, label in segments(row.labels):
            axis.axvspan(start, stop, color=colour(label), alpha=0.24, linewidth=0)
        for start, stop, label in [] if row.reference is None else segments(row.reference):
            axis.axvspan(start, stop, ymax=0.08, color=colour(label), linewidth=0)
        name = "\n".join([row.name, *picture.begins(row)])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontweight="bold")
        axis.set(xlim=(0, picture.span), yticks=[], xticks=[at for at, _ in picture.ticks])
        axis.grid(axis="x", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.margins(y=0.14)
        axis.spines[:].set_color(GRID)
        axis.tick_params(length=0)
    axes[-1].set_xticklabels([text for _, text in picture.ticks])
    axes[-1].set_xlabel(picture.axis)
    patch = extra("matplotlib.patches", "plot").Patch
    used = list(enumerate(picture.class_names))[1:]
    inches = figure.get_figheight()
    figure.legend(handles=[patch(color=colour(label), alpha=0.5, label=name) for label, name in used],
                  loc="upper right", bbox_to_anchor=(0.985, 1 - 0.1 / inches), ncols=max(len(used), 1), frameon=False)
    figure.text(0.083, 1 - 0.30 / inches, picture.title, fontsize=12, fontweight="bold")
    figure.text(0.083, 1 - 0.52 / inches, picture.legend, fontsize=9, color="#555555")
    figure.subplots_adjust(left=0.083, right=0.985, top=1 - 0.62 / inches, bottom=0.5 / inches)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def save_mask(path: str | os.PathLike[str], images: np.ndarray, labels: np.ndarray, *, title: str,
              class_names: Sequence[str]) -> None:
    """Draw images beside themselves under their masks, as .png (pixels alone) or .svg (with title and legend).

    images : (B, H, W, C) with 1 or 3 channels, any scale; each is stretched to its own 0.2 to 99.8 % range
    labels : (B, H, W) predicted class of each pixel

    Raises ValueError for other suffixes.
    """
    panels = [mask_panels(image, mask) for image, mask in zip(images[:4], labels[:4], strict=True)]
    gap = np.full((12, panels[0].shape[1], 3), 255, np.uint8)
    pixels = np.concatenate([part for panel in panels for part in (panel, gap)][:-1])
    if suffix(path) == ".png":
        with atomic_write(path) as file:
            file.write(png(pixels))
        return
    height, width = pixels.shape[:2]
    scale = (WIDTH - LEFT - RIGHT) / width
    parts = [*_head(WIDTH, TOP + round(height * scale) + BOTTOM, title),
             *_legend(class_names, "left: the image; right: under the predicted mask", ON_IMAGES)]
    parts.append(f'<image x="{LEFT}" y="{TOP}" width="{width * scale:.1f}" height="{height * scale:.1f}" '
                 f'href="data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"/>')
    write_text(path, "\n".join([*parts, "</svg>", ""]))


def mask_panels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One image (H, W, C) and, to its right, the same under its mask (H, W), as RGB bytes; small ones enlarged."""
    low, high = np.percentile(image, (0.2, 99.8))
    grey = np.clip((image - low) / ((high - low) or 1), 0, 1) * 255
    plain = np.repeat(grey, 3, axis=-1) if grey.shape[-1] == 1 else grey[..., :3]
    factor = max(1, 512 // max(labels.shape))
    plain, labels = (np.repeat(np.repeat(array, factor, 0), factor, 1) for array in (plain, labels))
    padded = np.pad(labels, 1, mode="edge")
    rim = (padded[1:-1, 2:] != labels) | (padded[2:, 1:-1] != labels)        # to the right or below
    rim |= (padded[1:-1, :-2] != labels) | (padded[:-2, 1:-1] != labels)     # to the left or above
    tint = np.array([[0, 0, 0], *(_rgb(colour(label, ON_IMAGES)) for label in range(1, int(labels.max()) + 1))])[labels]
    weight = np.where(labels > 0, np.where(rim, 1.0, 0.3), 0.0)[..., None]
    covered = plain * (1 - weight) + tint * weight
    gap = np.full((len(labels), 12, 3), 255.0)
    return np.concatenate([plain, gap, covered], axis=1).round().astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """RGB bytes (H, W, 3) as a PNG file. Source: PNG specification, third edition, W3C 2025."""
    H, W, _ = pixels.shape
    lines = np.concatenate([np.zeros((H, 1), np.uint8), pixels.reshape(H, 3 * W)], axis=1)  # filter 0 leads each line
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines.tobytes())),
              (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data
                                           + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)


def segments(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of one class other than 0 in labels (L,): start, one past the end, class."""
    edges = np.flatnonzero(np.diff(labels.astype(int))) + 1
    bounds = [0, *edges.tolist(), len(labels)]
    return [(start, stop, int(labels[start])) for start, stop in pairwise(bounds) if labels[start]]


def envelope(values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """At most 4 * columns points that draw like values (L,): the lowest and highest of each stretch, in their order.

    Returns positions and values; a gap (NaN) is drawn as 0.
    """
    values = np.nan_to_num(np.asarray(values, float))
    if len(values) <= 4 * columns:
        return np.arange(len(values)), values
    stretches = np.array_split(np.arange(len(values)), 2 * columns)
    kept = [sorted({int(at[values[at].argmin()]), int(at[values[at].argmax()])}) for at in stretches]
    positions = np.concatenate(kept).astype(int)
    return positions, values[positions]


def colour(label: int, palette: Sequence[str] = PALETTE) -> str:
    """Colour of a class from 1 on; they repeat after the palette's end. UNMARKED is grey."""
    return GRID if label == UNMARKED else palette[(label - 1) % len(palette)]


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _head(width: int, height: int, title: str) -> list[str]:
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
            f'<text x="{LEFT}" y="32" font-size="18" font-weight="600">{escape(title)}</text>']


def _legend(class_names: Sequence[str], reading: str, palette: Sequence[str] = PALETTE) -> list[str]:
    parts, x = [f'<text x="{LEFT}" y="56" font-size="13" fill="#555">{escape(reading)}</text>'], WIDTH - RIGHT
    for label in range(len(class_names) - 1, 0, -1):
        name = class_names[label]
        x -= 8 * len(name) + 14
        parts.append(f'<text x="{x + 6}" y="56" font-size="13">{escape(name)}</text>')
        parts.append(f'<rect x="{x - 14}" y="45" width="14" height="14" fill="{colour(label, palette)}" '
                     'fill-opacity="0.6"/>')
        x -= 26
    return parts


def suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a picture's file, ".png" or ".svg". Raises ValueError for any other."""
    found = os.path.splitext(path)[1].lower()
    if found not in (".png", ".svg"):
        raise ValueError(f"cannot draw a picture into {os.fspath(path)}: the suffix must be .png or .svg")
    return found
