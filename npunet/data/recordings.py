"""Annotated recordings in memory, prepared for a network: LUDB, other WFDB folders like it, and synthetic ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npunet.data import data_folder, ecg, mit
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg

IGNORE = 255  # label of samples that nobody looked at


@dataclass(frozen=True)
class Recording:
    """One recording of one subject, as the network sees it and as it was annotated.

    x      : (leads, L) float32, prepared, at the network's rate
    labels : (leads, L) uint8 class of each sample, IGNORE outside the annotated span
    fs     : samples per second of the recording itself
    marks  : (leads, M) uint8, the same labels at fs
    raw    : (leads, M) float32, mV, as recorded
    """

    name: str
    subject: str
    leads: tuple[str, ...]
    x: np.ndarray
    labels: np.ndarray
    fs: float
    marks: np.ndarray
    raw: np.ndarray


def read_recordings(data: str | os.PathLike[str] | None, preparation: Preparation,
                    class_map: Mapping[int, int] | None = None) -> list[Recording]:
    """All annotated recordings of a WFDB folder: for each lead an annotation file named after it, as in LUDB.

    data      : the folder with RECORDS, or its parent; NPUNET_DATA by default
    class_map : class of each label of data.ecg (0 none, 1 P, 2 QRS, 3 T); a label that it lacks becomes 0

    A subject is the folder of its records, where RECORDS names more than one folder, else every record is one.
    Leads without marks are left out, and so are records without any.
    Raises FileNotFoundError, ValueError when nothing is annotated, MissingExtra when a file needs the wfdb package.
    """
    folder = data_folder("ludb", "RECORDS", data)
    paths = ecg.find_records(folder)
    by_folder = len({path.parent for path in paths}) > 1
    found = []
    for path in paths:
        record = read_record(path)
        if record.labels is None or record.spans is None or not record.spans.any():
            continue
        subject = path.parent.name if by_folder else path.name
        found.append(prepared(path.name, subject, record, preparation, class_map))
    if not found:
        raise ValueError(f"{folder} has no annotated record: wave marks stand in files named after the leads, "
                         "such as 1.ii beside 1.dat")
    return found


def read_record(path: str | os.PathLike[str]) -> ecg.Record:
    """data.ecg.read_record, by a faster way where the files are plain."""
    base = Path(os.fspath(path).removesuffix(".hea"))
    try:
        signals, fs, leads, units = mit.read_signals(base)
        scales = [ecg.MILLIVOLTS[unit.lower()] for unit in units]
        marked = [_marks(base, lead, signals.shape[1]) for lead in leads]
    except (mit.NotPlain, KeyError):
        return ecg.read_record(path)
    signal = (signals * np.array(scales)[:, None]).astype(np.float32)
    labels, spans = np.stack([labels for labels, _ in marked]), np.array([span for _, span in marked])
    return ecg.Record(signal, fs, leads, labels, spans)


def _marks(base: Path, lead: str, length: int) -> tuple[np.ndarray, tuple[int, int]]:
    path = base.with_name(f"{base.name}.{lead.lower()}")
    known = path.suffix not in (".dat", ".hea") and path.is_file()
    samples, symbols = mit.read_annotation(path) if known else ([], [])
    return ecg.annotation_labels(samples, symbols, length)


def prepared(name: str, subject: str, record: ecg.Record, preparation: Preparation,
             class_map: Mapping[int, int] | None = None) -> Recording:
    """The annotated leads of a record as a Recording."""
    assert record.labels is not None and record.spans is not None
    kept = np.flatnonzero(record.spans[:, 1] > record.spans[:, 0])
    classes = np.zeros(256, np.uint8)
    classes[: len(ecg.WAVES) + 1] = np.arange(len(ecg.WAVES) + 1)
    if class_map is not None:
        classes = np.array([class_map.get(label, 0) for label in range(256)], np.uint8)
    marks = classes[record.labels[kept]]
    at = np.arange(marks.shape[1])
    first, last = record.spans[kept, :1], record.spans[kept, 1:]
    marks[(at < first) | (at >= last)] = IGNORE
    return Recording(name, subject, tuple(record.leads[lead] for lead in kept),
                     preparation(record.signal[kept], record.fs),
                     ecg.resample_labels(marks, record.fs, preparation.rate), record.fs, marks,
                     record.signal[kept])


def synthetic_recordings(count: int, preparation: Preparation, class_map: Mapping[int, int] | None = None,
                         seed: int = 0, seconds: float = 10, fs: float = 500) -> list[Recording]:
    """`count` subjects with one synthetic lead each: heart rate, noise, wander, gain and polarity differ."""
    made = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        rate, noise, wander, gain = random.uniform((45, 0.005, 0.0, 0.5), (120, 0.04, 0.2, 1.6))
        signal, labels = synthetic_ecg(seconds, fs, seed=int(random.integers(2**31)), heart_rate=rate, noise=noise,
                                       wander=wander)
        signal *= np.float32(gain * random.choice([1, 1, 1, -1]))
        record = ecg.Record(signal[None], fs, ("ECG",), labels[None], np.array([[0, len(signal)]]))
        made.append(prepared(f"synthetic-{number}", f"synthetic-{number}", record, preparation, class_map))
    return made


def subjects(things: Sequence[Recording]) -> list[str]:
    """The subjects of recordings, each once, in order."""
    return list(dict.fromkeys(thing.subject for thing in things))
