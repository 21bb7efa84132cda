"""Labels as waves: where each begins and ends, as a table and as marks of an annotation."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npunet.formats.wfdb_annotation import Mark

COLUMNS = ("onset_s", "offset_s", "class", "lead", "onset_sample", "offset_sample")


class Wave(NamedTuple):
    """One run of a class other than 0.

    lead          : its row in the labels
    onset, offset : first and last sample, both of the wave
    """

    lead: int
    label: int
    onset: int
    offset: int


def waves(labels: np.ndarray) -> list[Wave]:
    """The waves of labels (leads, L), lead by lead."""
    found = []
    for lead, row in enumerate(labels):
        edges = np.flatnonzero(row[1:] != row[:-1]) + 1
        starts, stops = np.append(0, edges), np.append(edges, len(row))
        found += [Wave(lead, int(row[start]), start, stop - 1)
                  for start, stop in zip(starts.tolist(), stops.tolist(), strict=True) if stop > start and row[start]]
    return found


def wave_table(labels: np.ndarray, fs: float | None, leads: Sequence[str], class_names: Sequence[str],
               start: int = 0) -> str:
    """The waves of labels (leads, L) as CSV, a row each, in the order of leads and time.

    fs    : samples per second of the labels; without it the columns in seconds stay empty
    start : sample of the recording that the first label stands at; onsets and offsets count from the recording's start

    Columns: onset_s and offset_s (seconds), class, lead, onset_sample and offset_sample. The offset is the last sample
    of the wave, so a wave of one sample begins and ends at the same time.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for wave in waves(labels):
        samples = [start + wave.onset, start + wave.offset]
        seconds = ["" if fs is None else f"{sample / fs:.6f}" for sample in samples]
        table.writerow([*seconds, class_names[wave.label], leads[wave.lead], *samples])
    return text.getvalue()


SYMBOLS = {"P": "p", "QRS": "N", "T": "t"}  # of the waves that WFDB has symbols for, as in LUDB; others are notes


def wave_marks(labels: np.ndarray, signal: np.ndarray, class_names: Sequence[str], start: int = 0) -> list[Mark]:
    """The waves of labels (leads, L) as marks in the order of time: "(" at the onset, the wave at its peak, ")" at the
    offset.

    signal : (leads, L) in any unit. The peak is the sample furthest from the straight line between onset and offset

    A class that WFDB has no symbol for is a note with the class's name.
    """
    marks = []
    for wave in waves(labels):
        name, part = class_names[wave.label], signal[wave.lead, wave.onset : wave.offset + 1]
        line = np.linspace(part[0], part[-1], len(part))
        peak = wave.onset + int(np.argmax(np.nan_to_num(np.abs(part - line))))
        symbol, note = (SYMBOLS[name], "") if name in SYMBOLS else ('"', name)
        marks += [Mark(start + wave.onset, "(", wave.lead), Mark(start + peak, symbol, wave.lead, note),
                  Mark(start + wave.offset, ")", wave.lead)]
    return sorted(marks, key=lambda mark: mark.sample)
