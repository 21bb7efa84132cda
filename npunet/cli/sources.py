"""What a path is to `npunet predict`: recordings with a rate, images, or arrays that a network takes as they are."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from npunet import UNet
from npunet.cli import inputs
from npunet.cli.models import Meaning
from npunet.data import Record, read_record
from npunet.data.flat import warn_of_flat
from npunet.data.records import find_records
from npunet.data.synthetic import ECG_CLASSES
from npunet.evaluate.plots import UNMARKED
from npunet.segment import Segmenter

RECORDS = ("", ".hea", ".dat")
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

    Raises FileNotFoundError, ValueError for what does not fit the model or lacks its rate, MissingExtra.
    """
    suffix = Path(source).suffix.lower()
    recordings = len(model.input_shape) == 2 and not arguments.raw
    if recordings and (suffix in RECORDS or _is_record(source)):
        signal: Signal | None = _record(source, meaning, arguments)
    elif recordings and suffix in (*inputs.TABLES, *inputs.ARRAYS):
        signal = _values(source, model, arguments)
    else:
        signal = None
    if signal is None:
        if arguments.begin is not None or arguments.end is not None:
            raise ValueError("--from and --to are seconds of a recording whose rate is known"
                             + ("" if arguments.raw or not recordings else "; add --fs HZ"))
        return inputs.read(source, model, meaning, arguments)
    _refuse_channels(model, signal)
    return signal.cut(arguments.begin, arguments.end)


def _is_record(source: str) -> bool:
    """Whether a name with a dot in it is a record's, such as rec.1 for rec.1.hea."""
    return not Path(source).exists() and Path(f"{source}.hea").is_file()


def _record(source: str, meaning: Meaning, arguments: argparse.Namespace) -> Signal:
    record = read_record(source.removesuffix(".dat"), inputs.chosen_leads(arguments))
    _refuse_other_rate(source, arguments.fs, record.fs)
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
    _refuse_other_rate(source, arguments.fs, fs)
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


def _refuse_other_rate(source: str, given: float | None, own: float | None) -> None:
    if given is not None and own is not None and abs(given - own) > 1e-3 * own:
        raise ValueError(f"--fs {given:g}: {source} says itself that it has {own:g} samples a second; leave --fs out")


def _refuse_channels(model: UNet | Segmenter, signal: Signal) -> None:
    channels = model.input_shape[-1]
    if channels not in (1, len(signal.leads)):
        raise ValueError(f"the network takes {channels} channels, not {len(signal.leads)} leads; choose by --leads")


def _told(values: np.ndarray, fs: float) -> str:
    leads = f"{len(values)} lead" + ("" if len(values) == 1 else "s")
    return f"{leads} x {values.shape[1]} samples at {fs:g} Hz"


def find(folder: str, model: UNet | Segmenter) -> tuple[list[str], list[str]]:
    """The inputs of a folder for a model, sorted, and the names of other files there.

    Images for a network of images. For a network of signals the records that RECORDS lists or that have a header
    there; in a folder without any, tables and arrays.
    Raises FileNotFoundError when there is none.
    """
    here = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    if len(model.input_shape) == 3:
        kept = [path for path in here if path.suffix.lower() in (*inputs.IMAGES, *inputs.ARRAYS)]
        wanted = "images"
    elif (Path(folder) / "RECORDS").is_file():
        records = find_records(folder)
        return [str(path) for path in records], [path.name for path in here if path.suffix.lower() in TABLES]
    else:
        kept = [path.with_suffix("") for path in here if path.suffix.lower() == ".hea"]
        wanted = "WFDB records, tables or arrays"
        if kept:
            return [str(path) for path in kept], [path.name for path in here if path.suffix.lower() in TABLES]
        kept = [path for path in here if path.suffix.lower() in (*inputs.TABLES, *inputs.ARRAYS)]
    if not kept:
        raise FileNotFoundError(f"{folder} holds no {wanted}; it holds {len(here)} other files")
    return [str(path) for path in kept], [path.name for path in here if path not in kept]
