"""The plainest and commonest WFDB files, read without a package: 16-bit signals and MIT annotations.

LUDB is made of these, and reading them here takes a twentieth of the time.
Source: PhysioNet, WFDB file formats: header(5), signal(5) "format 16", annot(5).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

SYMBOLS = {1: "N", 24: "p", 27: "t", 39: "(", 40: ")"}  # the wave marks; every other code reads as "?"
SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
DEFAULT_GAIN, DEFAULT_RATE, GAP = 200.0, 250.0, -32768


class NotPlain(ValueError):
    """A WFDB file that is of another kind than this module reads; the wfdb package may read it."""


def read_signals(base: str | os.PathLike[str]) -> tuple[np.ndarray, float, tuple[str, ...], tuple[str, ...]]:
    """Read the signals of a record of one segment whose samples all stand in one file of format 16.

    physical = (stored - baseline) / gain

    base : path of the record without suffix

    Returns signals (leads, L) float64 in their units, NaN in gaps; samples per second; names; units.
    Raises NotPlain for another kind of record, ValueError for a damaged file, FileNotFoundError.
    """
    lines = Path(f"{base}.hea").read_text(encoding="latin-1").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    record = lines[0].split() if lines else []
    if len(record) < 2 or "/" in record[0] or not record[1].isdigit() or len(lines) <= int(record[1]):
        raise NotPlain(f"{base}.hea is not the header of one segment")
    fields = [line.split(maxsplit=8) for line in lines[1 : int(record[1]) + 1]]
    if not fields or any(len(field) < 2 or field[1] != "16" or field[0] != fields[0][0] for field in fields):
        raise NotPlain(f"{base} does not keep all its signals in one file of format 16")
    fs = float(re.split("[/(]", record[2])[0]) if len(record) > 2 else DEFAULT_RATE
    scales = [_scale(field) for field in fields]
    stored = np.fromfile(Path(base).parent / fields[0][0], "<i2")
    length = int(record[3]) if len(record) > 3 else len(stored) // len(fields)
    if len(stored) < length * len(fields):
        raise ValueError(f"{fields[0][0]} of the record {base} has {len(stored)} samples, its header says "
                         f"{len(fields)} x {length}; the file is cut short")
    stored = stored[: length * len(fields)].reshape(length, len(fields)).T   # (leads, L)
    gain, baseline = (np.array([scale[i] for scale in scales])[:, None] for i in (0, 1))
    signals = np.where(stored == GAP, np.nan, (stored - baseline) / gain)
    names = tuple(field[8].strip() if len(field) > 8 else f"signal {number}" for number, field in enumerate(fields))
    return signals, fs, names, tuple(scale[2] for scale in scales)


def _scale(field: list[str]) -> tuple[float, float, str]:
    """Gain, baseline and unit of a signal line, such as "1716(6)/mV" with the ADC zero two fields on."""
    found = re.fullmatch(r"([-+.\deE]+)(?:\((-?\d+)\))?(?:/(\S+))?", field[2]) if len(field) > 2 else None
    gain = float(found[1]) if found else 0.0
    zero = float(field[4]) if len(field) > 4 else 0.0
    baseline = float(found[2]) if found and found[2] else zero
    return gain or DEFAULT_GAIN, baseline, (found[3] if found and found[3] else "mV")


def read_annotation(path: str | os.PathLike[str]) -> tuple[list[int], list[str]]:
    """Read an annotation file in MIT format: sample numbers, and symbols as in SYMBOLS.

    Words of 16 bits: code * 1024 + samples since the last annotation; SKIP has a longer interval in the next two
    words, the high one first, AUX a text; an empty word ends the file.

    Raises NotPlain when the annotations have a sampling rate of their own, ValueError when the file is cut short.
    """
    words = np.fromfile(path, "<u2").tolist()
    samples, symbols, now, at = [], [], 0, 0
    while at < len(words) and words[at]:
        code, interval = divmod(words[at], 1024)
        at += 1
        if code == SKIP:
            long = (words[at] << 16 | words[at + 1]) if at + 1 < len(words) else 0
            now += long - (1 << 32 if long >= 1 << 31 else 0)
            at += 2
        elif code == AUX:
            text = np.array(words[at : at + (interval + 1) // 2], "<u2").tobytes()[:interval]
            if text.startswith(b"## time resolution"):
                raise NotPlain(f"{path} counts in samples of its own rate")
            at += (interval + 1) // 2
        elif code not in (NUM, SUB, CHN):
            now += interval
            samples.append(now)
            symbols.append(SYMBOLS.get(code, "?"))
    if at >= len(words):
        raise ValueError(f"the annotation file {path} is cut short: its end mark is missing")
    return samples, symbols
