"""What a user hands to a model: files of several kinds, read and prepared into one batch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet
from npunet.cli.models import Meaning
from npunet.data import Record, ecg, images, read_record, read_table, tables
from npunet.data.axes import refuse_transposed
from npunet.data.synthetic import ECG_CLASSES
from npunet.evaluate.plots import UNMARKED
from npunet.reading import npz, read_npy, reading
from npunet.segment import Segmenter

OPTION = re.compile(r"\b(leads|time_unit|time|unit|separator|decimal|skip_rows)=(?=(['\w]?))")  # of read_table
IMAGES, ARRAYS, TABLES = images.SUFFIXES, (".npy", ".npz"), tables.SUFFIXES
HELP = "signal: WFDB record (with or without .hea), .csv, .npy; image: PNG, TIFF, ..., .npy; .npz with an array 'x'"


@dataclass(frozen=True)
class Batch:
    """A batch that a model takes, and what a picture of it needs.

    x         : (B, L, C) or (B, H, W, C)
    names     : what each sample is called
    told      : what was done to it, in words
    rate      : samples per second, or None
    shown     : the pixels of images (B, H, W, C), which x is made from; None for other inputs
    reference : (B, L) annotated classes (plots.UNMARKED where nobody looked), or None
    """

    x: np.ndarray
    names: tuple[str, ...]
    told: str
    rate: float | None = None
    shown: np.ndarray | None = None
    reference: np.ndarray | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how an input is read."""
    group = parser.add_argument_group("reading the input")
    group.add_argument("--fs", type=float, metavar="HZ",
                       help="sampling rate of a .csv or .npy signal in mV, which is then prepared as a WFDB record is; "
                            "a .csv with a column of times gives its own")
    group.add_argument("--rate", type=float, metavar="HZ",
                       help="sampling rate that the network was made for (a preset's own, else 100)")
    group.add_argument("--leads", metavar="NAME,...", help="leads of a WFDB record or columns of a table (default: "
                                                           "all)")
    group.add_argument("--index", type=int, metavar="N", help="take one sample of several, counted from 0")
    group.add_argument("--raw", action="store_true",
                       help="feed values as they are: no resampling, filter or normalisation")
    tables = parser.add_argument_group("reading a table, where it does not tell by itself")
    tables.add_argument("--time", metavar="COLUMN", help="name of the column of times; 'none' where there is none")
    tables.add_argument("--time-unit", metavar="UNIT", help="of times that do not say it: s, ms, us")
    tables.add_argument("--unit", metavar="UNIT", help="of columns that do not say it: mV, uV, V (default mV)")
    tables.add_argument("--separator", metavar="MARK", help="between cells, such as ';'")
    tables.add_argument("--decimal", choices=(".", ","), metavar="MARK", help="mark of fractions")
    tables.add_argument("--skip-rows", type=int, default=0, metavar="N", help="lines at the top that are passed over")


def read(source: str, model: UNet | Segmenter, meaning: Meaning, arguments: argparse.Namespace) -> Batch:
    """Read any input into a batch for a model.

    A record, and a signal with --fs, is resampled, band-passed and normalised, as the model was trained where it knows
    how (segment.Segmenter), else by data.ecg.preprocess; pixels are normalised per image (data.images.standardise);
    other arrays are fed as they are. --raw leaves everything.

    Raises FileNotFoundError, ValueError for what does not fit the model, MissingExtra.
    """
    suffix = Path(source).suffix.lower()
    if suffix in IMAGES:
        batch = _read_image(source, model)
    elif suffix in ARRAYS:
        batch = read_array(source, model)
    elif suffix in TABLES:
        batch = _read_table(source, model, arguments)
    elif suffix in ("", ".hea", ".dat"):
        record = read_record(source.removesuffix(".dat"), chosen_leads(arguments))
        batch = record_batch(record, model, meaning, arguments.rate, raw=arguments.raw)
    else:
        known = ", ".join((*ARRAYS, *TABLES, *IMAGES))
        raise ValueError(f"cannot read {source}: {suffix} is no suffix of a WFDB record, nor one of {known}")
    if arguments.index is not None:
        batch = _one(batch, arguments.index)
    if suffix in (*ARRAYS, *TABLES) and not (arguments.fs is None and batch.rate is None):
        fs = _agreed(source, arguments.fs, batch.rate)
        return _prepared(batch, model, meaning, fs, arguments.rate, arguments.raw)
    return batch if batch.shown is None or arguments.raw else _standardised(batch, batch.shown)


def record_batch(record: Record, model: UNet | Segmenter, meaning: Meaning, rate: float | None = None,
                 raw: bool = False) -> Batch:
    """A WFDB record as a batch: one sample a lead, or one sample of all leads when the network takes that many."""
    channels = _channels(model, 2)
    if channels not in (1, len(record.leads)):
        raise ValueError(f"the network takes {channels} channels, not {len(record.leads)} leads; choose by --leads")
    if raw:
        x, rate, how = record.signal, record.fs, ""
    else:
        x, rate, how = prepare(record.signal, record.fs, model, meaning, rate)
    told = f"{_count(record.leads, 'lead')} x {x.shape[1]} samples at {rate:g} Hz{how}"
    if channels == 1:
        return Batch(x[..., None], record.leads, told, rate, reference=_annotated(record, x.shape[1], rate, meaning))
    return Batch(x.T[None], ("all leads",), told, rate)


def prepare(leads: np.ndarray, fs: float, model: UNet | Segmenter, meaning: Meaning,
            rate: float | None = None) -> tuple[np.ndarray, float, str]:
    """Leads (leads, L) at fs as a model takes them, their rate, and what was done, in words.

    A model that knows its preparation does it itself, in any unit. Raises ValueError for another rate than its own.
    """
    if not isinstance(model, Segmenter) or model.preparation is None:
        rate = rate or meaning.rate or ecg.RATE
        return ecg.preprocess(leads, fs, rate), rate, _told(fs, ecg.BAND)
    known = model.preparation
    if rate not in (None, known.rate):
        raise ValueError(f"--rate {rate:g}: the network was trained at {known.rate:g} Hz; leave --rate out")
    return model.normalised(np.asarray(leads, np.float64), fs), known.rate, _told(fs, known.band)


def as_batch(array: np.ndarray, input_shape: Sequence[int | None]) -> np.ndarray:
    """An array as a batch (B, ..., C): the axes for samples and for a single channel may be missing.

    Where that leaves a choice, the last axis is the channels if its size fits.
    Raises ValueError when the array does not fit.
    """
    rank, channels = len(input_shape), input_shape[-1]
    if rank == 2 and array.ndim == 2 and array.shape[-1] != channels:
        refuse_transposed(*array.shape)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"the array has dtype {array.dtype}; it must hold real numbers")
    fits = array.ndim > 0 and array.shape[-1] == channels
    if fits and array.ndim == rank + 1:
        return array
    if fits and array.ndim == rank:
        return array[None]
    if channels == 1 and array.ndim in (rank - 1, rank):
        return array.reshape(-1, *array.shape[array.ndim - rank + 1 :], 1)
    wanted = ", ".join("any" if size is None else str(size) for size in input_shape)
    raise ValueError(f"an array of shape {array.shape} does not fit the network, which takes (B, {wanted})")


def _annotated(record: Record, length: int, rate: float, meaning: Meaning) -> np.ndarray | None:
    """The annotation of a record at the batch's rate, if it has one and the network tells the same waves apart."""
    if record.labels is None or record.spans is None or len(meaning.class_names) != len(ECG_CLASSES):
        return None
    at = np.arange(length)
    first, last = np.asarray(record.spans * rate / record.fs)[:, :, None].swapaxes(0, 1)     # each (leads, 1)
    return np.where((at >= first) & (at < last), ecg.resample_labels(record.labels, record.fs, rate), UNMARKED)


def _read_image(source: str, model: UNet | Segmenter) -> Batch:
    pixels = images.read_image(source, _channels(model, 3))
    told = f"{_count(pixels, 'image')} x {pixels.shape[1]} x {pixels.shape[2]} pixels"
    return Batch(pixels, tuple(f"page {number}" for number in range(len(pixels))), told, shown=pixels)


def read_array(source: str, model: UNet | Segmenter) -> Batch:
    with reading(source):
        x = as_batch(_array(source), model.input_shape)
    names = tuple(f"sample {number}" for number in range(len(x)))
    pixels = x if x.ndim == 4 and x.dtype.kind in "iu" and x.shape[-1] in (1, 3) else None
    return Batch(x, names, f"{' x '.join(map(str, x.shape))} {x.dtype}", shown=pixels)


def _array(source: str) -> np.ndarray:
    """The array of a .npy file, or `x` (or the only one) of an .npz."""
    if Path(source).suffix.lower() == ".npy":
        return read_npy(source)
    with npz(source) as arrays:
        name = "x" if "x" in arrays else next(iter(arrays)) if len(arrays) == 1 else None
        if name is None:
            raise ValueError(f"it holds {', '.join(arrays)}, but no array 'x'")
        return arrays[name].read()


def chosen_leads(arguments: argparse.Namespace) -> list[str] | None:
    """The leads that the command line names."""
    return [name.strip() for name in arguments.leads.split(",")] if arguments.leads else None


def read_table_of(source: str, arguments: argparse.Namespace) -> tuple[np.ndarray, float | None, tuple[str, ...]]:
    """data.read_table with the options of the command line."""
    options = {key: getattr(arguments, key) for key in ("time_unit", "unit", "separator", "decimal", "skip_rows")}
    time = {None: None, "none": False}.get(arguments.time, arguments.time)
    try:
        return read_table(source, leads=chosen_leads(arguments), time=time, **options)
    except ValueError as error:                                              # the options are written otherwise here
        told = str(error).replace("see the options of npunet.data.read_table", "see the options of this command")
        raise ValueError(OPTION.sub(lambda found: f"--{found[1].replace('_', '-')}{found[2] and ' '}", told)) from None


def _read_table(source: str, model: UNet | Segmenter, arguments: argparse.Namespace) -> Batch:
    """Rows are moments, columns are leads in mV; a column of times gives the rate."""
    channels = _channels(model, 2)
    columns, rate, names = read_table_of(source, arguments)                  # (leads, L)
    told = f"{_count(columns, 'column')} x {columns.shape[1]} samples"
    if channels not in (1, len(columns)):
        raise ValueError(f"{source}: {told} do not fit a network of {channels} channels; choose by --leads")
    if channels == 1:
        return Batch(columns[..., None], names, told, rate)
    return Batch(columns.T[None], ("all columns",), told, rate)


def _prepared(batch: Batch, model: UNet | Segmenter, meaning: Meaning, fs: float, rate: float | None,
              raw: bool) -> Batch:
    """A batch of signals, prepared as a WFDB record is."""
    if batch.x.ndim != 3:
        raise ValueError("--fs is for signals; the network takes images")
    if raw:
        return replace(batch, rate=fs)
    leads = np.moveaxis(batch.x, 2, 1)                                       # (B, C, L)
    x, rate, how = prepare(leads.reshape(-1, leads.shape[2]), fs, model, meaning, rate)
    x = x.reshape(*leads.shape[:2], -1)
    told = f"{batch.told} at {fs:g} Hz, now {x.shape[2]} at {rate:g} Hz{how}"
    return replace(batch, x=np.moveaxis(x, 1, 2), rate=rate, told=told)


def _agreed(source: str, given: float | None, own: float | None) -> float:
    """The rate of --fs or of the file's own times. Raises ValueError where they contradict each other."""
    if given is not None and own is not None and abs(given - own) > 1e-3 * own:
        raise ValueError(f"--fs {given:g}: the times in {source} give {own:g} samples a second; leave --fs out")
    rate = own if given is None else given
    assert rate is not None
    return float(rate)


def _standardised(batch: Batch, pixels: np.ndarray) -> Batch:
    """A batch of images, each normalised; whole numbers become fractions before that, as in image files."""
    pixels = np.stack([images.fractions(image) for image in pixels])
    return replace(batch, x=images.standardise(pixels), told=f"{batch.told}, normalised")


def _one(batch: Batch, index: int) -> Batch:
    if not 0 <= index < len(batch.x):
        raise ValueError(f"--index {index} is not there; the input has {len(batch.x)} samples, counted from 0")
    part = slice(index, index + 1)
    shown, reference = (None if array is None else array[part] for array in (batch.shown, batch.reference))
    return replace(batch, x=batch.x[part], names=batch.names[part], shown=shown, reference=reference,
                   told=f"{batch.names[index]} of {batch.told}")


def _channels(model: UNet | Segmenter, rank: int) -> int:
    """Channels of a model for signals (rank 2) or images (rank 3). Raises ValueError when it is for the other."""
    if len(model.input_shape) != rank:
        kind, other = ("signals", "images") if rank == 3 else ("images", "signals")
        raise ValueError(f"the network takes {kind} of shape {model.input_shape}, the input is for {other}")
    return int(model.input_shape[-1] or 0)


def _count(things: Sequence[Any] | np.ndarray, name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


def _told(fs: float, band: tuple[float, float] | None) -> str:
    filtered = f"{band[0]:g}-{band[1]:g} Hz, " if band else ""
    return f" (recorded at {fs:g} Hz; {filtered}normalised)"
