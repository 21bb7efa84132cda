"""Annotated recordings in memory, prepared for a network: LUDB, other WFDB folders like it, and synthetic ones."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet.data import ecg
from npunet.data.folders import data_folder
from npunet.data.masks import IGNORE
from npunet.data.prepare import Preparation
from npunet.data.records import Record, annotated_leads, listed_records, read_record
from npunet.data.synthetic import synthetic_ecg
from npunet.data.wfdb_annotations import WAVES
from npunet.reading import told

MOST_TOLD = 10  # records that a warning lists


@dataclass(frozen=True)
class Recording:
    """One recording of one subject, as the network sees it and as it was annotated.

    x      : (leads, L) float32, prepared, at the network's rate
    labels : (leads, L) uint8 class of each sample, IGNORE (255) outside the annotated span
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
    Leads without marks are left out, and so are records without any. Records that cannot be read are left out too, and
    a warning lists them.
    Raises FileNotFoundError, ValueError when nothing is annotated.
    """
    folder = data_folder("ludb", "RECORDS", data)
    paths = listed_records(folder)
    by_folder = len({path.parent for path in paths}) > 1
    found: list[Recording] = []
    broken: list[str] = []
    for path in paths:
        try:
            leads = annotated_leads(path)
            record = read_record(path, leads) if leads else None
        except (ValueError, OSError) as error:
            broken.append(told(error, arrays=False))
            continue
        if record is None or record.spans is None or not record.spans.any():
            continue
        subject = path.parent.name if by_folder else path.name
        found.append(prepared(path.name, subject, record, preparation, class_map))
    more = f"; and {len(broken) - MOST_TOLD} more" if len(broken) > MOST_TOLD else ""
    listed = "; ".join(broken[:MOST_TOLD]) + more
    if not found:
        raise ValueError(f"{folder} has no annotated record: wave marks stand in files named after the leads, "
                         f"such as 1.ii beside 1.dat{'; of its records cannot be read: ' if broken else ''}{listed}")
    if broken:
        warnings.warn(f"{len(broken)} of {len(paths)} records of {folder} are left out: {listed}", UserWarning,
                      stacklevel=2)
    return found


def prepared(name: str, subject: str, record: Record, preparation: Preparation,
             class_map: Mapping[int, int] | None = None) -> Recording:
    """The annotated leads of a record as a Recording."""
    assert record.labels is not None and record.spans is not None
    kept = np.flatnonzero(record.spans[:, 1] > record.spans[:, 0])
    classes = np.zeros(256, np.uint8)
    classes[: len(WAVES) + 1] = np.arange(len(WAVES) + 1)
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
        record = Record(signal[None], fs, ("ECG",), labels[None], np.array([[0, len(signal)]]))
        made.append(prepared(f"synthetic-{number}", f"synthetic-{number}", record, preparation, class_map))
    return made


def subjects(things: Sequence[Recording]) -> list[str]:
    """The subjects of recordings, each once, in order."""
    return list(dict.fromkeys(thing.subject for thing in things))
