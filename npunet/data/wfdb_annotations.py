"""Annotation files of WFDB records: marks in MIT format, and what wave marks say of every sample.

Source: PhysioNet, WFDB file formats, annot(5); LUDB, doi:10.13026/eegm-h675, for annotations by lead with "(",
"p" | "N" | "t", ")".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npunet import memory
from npunet.data.synthetic import NONE, QRS, P, T

WAVES = {"p": P, "N": QRS, "t": T}
SYMBOLS = {1: "N", 24: "p", 27: "t", 39: "(", 40: ")"}  # the wave marks; every other code reads as "?"
SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
RESOLUTION = b"## time resolution:"


def read_annotation(path: Path) -> tuple[list[int], list[str], float | None]:
    """Read an annotation file in MIT format.

    Words of 16 bits: code * 1024 + samples since the last annotation; SKIP has a longer interval in the next two
    words, the high one first, AUX a text; an empty word ends the file.

    Returns sample numbers, symbols as in SYMBOLS, and the rate in Hz that the numbers count at where the file has one
    of its own, else None.
    Raises FileNotFoundError, ValueError when the file is cut short or its rate is none.
    """
    memory.require(64 * path.stat().st_size, "reading the annotation", "take a smaller file")
    content = path.read_bytes()
    words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").tolist()
    samples, symbols, now, at = [], [], 0, 0
    rate: float | None = None
    while at < len(words) and words[at]:
        code, interval = divmod(words[at], 1024)
        at += 1
        if code == SKIP:
            long = (words[at] << 16 | words[at + 1]) if at + 1 < len(words) else 0
            now += long - (1 << 32 if long >= 1 << 31 else 0)
            at += 2
        elif code == AUX:
            text = content[2 * at : 2 * at + interval]
            if text.startswith(RESOLUTION):
                rate = _rate(text[len(RESOLUTION) :])
            at += (interval + 1) // 2
        elif code not in (NUM, SUB, CHN):
            now += interval
            samples.append(now)
            symbols.append(SYMBOLS.get(code, "?"))
    if at >= len(words):
        raise ValueError("it is cut short: its end mark is missing")
    return samples, symbols, rate


def annotation_labels(samples: Sequence[int], symbols: Sequence[str], length: int, *,
                      near: float = math.inf) -> tuple[np.ndarray, tuple[int, int]]:
    """Turn wave marks into a label per sample; a wave reaches from its "(" to its ")", both included.

    Marks are not always complete: without "(" a wave starts at its peak, without ")" it ends there, a "(" right after
    its peak still counts as its onset, and of marks made several times, within `near` samples of one another, the
    first "(" , peak and ")" count. A "(" that no peak follows before the next begins nothing, and a peak of another
    kind, or farther away, begins another wave.
    Symbols other than "(", "p", "N", "t" and ")" are not wave marks and are passed over. What lies before sample 0 or
    beyond the end is cut.

    Returns labels (length,) uint8, and the span (first, one past the last mark), (0, 0) without marks in it.
    """
    labels = np.full(length, NONE, np.uint8)
    onset: int | None = None
    peak: tuple[int, int] | None = None                                      # sample, label
    pairs = zip(samples, symbols, strict=True)
    marks = [(int(at), symbol) for at, symbol in pairs if symbol in ("(", ")", *WAVES)]

    def close(end: int) -> None:
        if peak is not None:
            labels[max(0, peak[0] if onset is None else onset) : max(0, end + 1)] = peak[1]

    for at, symbol in marks:
        if symbol == "(":
            if peak is not None and onset is not None:                       # the wave before has no end
                close(peak[0])
                peak, onset = None, at
            elif onset is None or (peak is None and at - onset > near):
                onset = at
        elif symbol == ")":
            close(at)
            onset = peak = None
        elif peak is None or (onset is not None and onset > peak[0]):        # then the "(" was this wave's
            peak = (at, WAVES[symbol])
        elif WAVES[symbol] != peak[1] or at - peak[0] > near:
            if onset is not None:                                            # the wave before has no end
                close(peak[0])
            peak, onset = (at, WAVES[symbol]), None
    if peak is not None and onset is not None:
        close(peak[0])
    first, last = (min(max(edge, 0), length) for edge in (marks[0][0], marks[-1][0] + 1)) if marks else (0, 0)
    return labels, (first, last) if first < last else (0, 0)


def at_rate(samples: Sequence[int], rate: float | None, fs: float) -> list[int]:
    """Sample numbers that count at `rate` (None: at fs) as those of a signal at fs, the nearest ones."""
    return list(samples) if rate in (None, fs) else [math.floor(at * fs / rate + 0.5) for at in samples]


def _rate(text: bytes) -> float:
    try:
        rate = float(text.strip(b" \0"))
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"its time resolution {text[:40]!r} is not a positive number")
    return rate
