"""What a picture of signals shows, before anyone draws it: strips, axes, waves, points that look like the signal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Colours of classes 1, 2, ... that colour-blind readers tell apart (Okabe & Ito 2008); class 0 has none.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
UNMARKED = 255  # in a reference: nobody has looked here
INK, GRID, PAPER = "#1a1a1a", "#dddddd", "#ffffff"
MAX_ROWS = 24
STEPS = [digit * 10.0**power for power in range(-3, 13) for digit in (1, 2, 5)]
SPANS = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # seconds of a strip


@dataclass(frozen=True)
class Row:
    """One strip of a signal picture: values and classes of equal length (n,), from sample `start` on."""

    name: str
    values: np.ndarray
    labels: np.ndarray
    reference: np.ndarray | None
    start: int

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value, gaps aside; never the same."""
        known = self.values[np.isfinite(self.values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def heights(self, count: int) -> list[float]:
        """At most `count` round numbers within the range, for an axis of values."""
        low, high = self.range
        rough = (high - low) / max(1, count)
        step = 10.0 ** math.floor(math.log10(rough))
        step *= next(digit for digit in (1, 2, 5, 10, 20) if digit * step >= rough)
        first = math.ceil(low / step)
        return [number * step for number in range(first, math.floor(high / step) + 1)]


@dataclass(frozen=True)
class SignalPicture:
    """Everything that a signal picture shows.

    rows  : strips from the top; each spans `span` samples of the shared axis
    rate  : samples per second, or None for an axis in samples
    unit  : of the values, or None where nobody knows
    """

    title: str
    rows: list[Row]
    span: int
    class_names: Sequence[str]
    rate: float | None
    unit: str | None = None

    @property
    def wrapped(self) -> bool:
        """Whether one signal goes on from strip to strip; then the axis counts from each strip's begin."""
        return len({row.start for row in self.rows}) > 1

    @property
    def origin(self) -> float:
        """What the axis begins at, in its unit."""
        return 0.0 if self.wrapped or not self.rows else self.rows[0].start / (self.rate or 1)

    @property
    def ticks(self) -> list[tuple[int, str]]:
        """Positions on the axis, in samples, and what stands there."""
        rate = self.rate or 1
        step = next(s for s in STEPS if self.span / rate / s <= 12)
        first = math.ceil(self.origin / step - 1e-9)
        last = math.floor((self.origin + self.span / rate) / step + 1e-9)
        return [(round((i * step - self.origin) * rate), f"{i * step:.12g}") for i in range(first, last + 1)]

    @property
    def axis(self) -> str:
        """What the axis counts."""
        return "seconds" if self.rate else "samples"

    def begins(self, row: Row) -> list[str]:
        """Where a strip begins, in words, if that is not what the axis says."""
        return [f"{row.start / self.rate:g} s" if self.rate else str(row.start)] if row.start and self.wrapped else []

    @property
    def legend(self) -> str:
        """How to read the strips."""
        bars = [row.reference for row in self.rows if row.reference is not None]
        grey = ", grey where there is none" if any((bar == UNMARKED).any() for bar in bars) else ""
        return "shaded: predicted" + (f"; bar below: annotation{grey}" if bars else "")


def signal_picture(signals: np.ndarray, labels: np.ndarray, *, title: str, names: Sequence[str],
                   class_names: Sequence[str], rate: float | None = None, reference: np.ndarray | None = None,
                   row_length: int | None = None, unit: str | None = None, start: int = 0) -> SignalPicture:
    """Lay out signals, each from its beginning to its end: one strip each, or several for a single long one.

    signals    : (B, L), drawn at whatever scale fills a strip
    labels     : (B, L) predicted class of each sample
    reference  : (B, L) annotated classes, drawn as a bar below; UNMARKED where there is no annotation
    row_length : samples after which a single signal goes on in the next strip (10 s, or 1000 samples; more where that
                 would be over MAX_ROWS strips)
    unit       : of the values
    start      : sample of the recording that the first value is

    Of more than MAX_ROWS signals the first are kept; the title says so.
    """
    length = signals.shape[1]
    row_length = row_length or _row_length(length, rate)
    span = row_length if len(signals) == 1 and length > 1.5 * row_length else length
    rows = []
    for index, name in enumerate(name if len(name) <= 10 else f"{name[:9]}…" for name in names):
        for first in range(0, length, span):
            part = slice(first, first + span)
            marked = None if reference is None else reference[index, part]
            rows.append(Row(name, signals[index, part], labels[index, part], marked, start + first))
    if len(rows) > MAX_ROWS:
        title += f" (the first {MAX_ROWS} of {len(rows)} strips)"
    return SignalPicture(title, rows[:MAX_ROWS], span, class_names, rate, unit)


def _row_length(length: int, rate: float | None) -> int:
    spans = [round(seconds * rate) for seconds in SPANS] if rate else [round(step) for step in STEPS if step >= 1000]
    return next((span for span in spans if length <= MAX_ROWS * span), -(-length // MAX_ROWS))


def segments(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of one class other than 0 in labels (L,): start, one past the end, class."""
    edges = np.flatnonzero(np.diff(labels.astype(int))) + 1
    bounds = [0, *edges.tolist(), len(labels)]
    return [(start, stop, int(labels[start])) for start, stop in pairwise(bounds) if labels[start]]


def envelope(values: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """At most 4 * columns points that draw like values (L,): the lowest and highest of each stretch, in their order.

    Returns positions and values. A gap (NaN) stays one: a stretch that holds one keeps a NaN.
    """
    values = np.asarray(values, float)
    if len(values) <= 4 * columns:
        return np.arange(len(values)), values
    stretches = np.array_split(np.arange(len(values)), 2 * columns)
    kept = []
    for at in stretches:
        part = values[at]
        missing = np.isnan(part)
        if missing.any():
            kept += sorted({int(at[missing.argmax()]), int(at[(~missing).argmax()])})
        else:
            kept += sorted({int(at[part.argmin()]), int(at[part.argmax()])})
    positions = np.array(kept)
    return positions, values[positions]


def colour(label: int, palette: Sequence[str] = PALETTE) -> str:
    """Colour of a class from 1 on; they repeat after the palette's end. UNMARKED is grey."""
    return GRID if label == UNMARKED else palette[(label - 1) % len(palette)]
