"""What a user hands to a model: the options that say how a file is read, and what stands in it.

`sources` makes of it what a network takes; every verb reads by it.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet
from npunet.cli import values
from npunet.data import Record, images, read_record, read_table, tables
from npunet.data.axes import refuse_transposed
from npunet.reading import npz, read_npy, reading
from npunet.segment import Segmenter

OPTION = re.compile(r"\b(leads|time_unit|time|unit|separator|decimal|skip_rows|blank_rows|blank_cells|encoding)="
                    r"(?=(['\w]?))")  # of read_table
SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
OF_TABLES = ("time", "time_unit", "unit", "separator", "decimal", "skip_rows", "blank_rows", "blank_cells", "encoding")
IMAGES, ARRAYS, TABLES = images.SUFFIXES, (".npy", ".npz"), tables.SUFFIXES
RECORDS = ("", ".hea", ".dat")
HELP = "signal: WFDB record (with or without .hea), .csv, .npy; image: PNG, TIFF, ..., .npy; .npz with an array 'x'"


@dataclass(frozen=True)
class Batch:
    """A batch that a model takes, and what a picture of it needs.

    x         : (B, L, C) or (B, H, W, C)
    names     : what each sample is called
    told      : what was done to it, in words
    rate      : samples per second, or None
    shown     : the pixels of images (B, H, W, C), which x is made from; None for other inputs
    """

    x: np.ndarray
    names: tuple[str, ...]
    told: str
    rate: float | None = None
    shown: np.ndarray | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how an input is read."""
    group = parser.add_argument_group("reading the input")
    group.add_argument("--fs", type=values.positive, metavar="HZ",
                       help="sampling rate of a .csv or .npy signal in mV, which is then prepared as a WFDB record is; "
                            "a .csv with a column of times gives its own")
    group.add_argument("--rate", type=values.positive, metavar="HZ",
                       help="sampling rate that the network was made for (a preset's own, else 100)")
    group.add_argument("--leads", metavar="NAME,...", help="leads of a WFDB record or columns of a table (default: "
                                                           "all)")
    group.add_argument("--index", type=values.natural, metavar="N", help="take one sample of several, counted from 0")
    group.add_argument("--raw", action="store_true",
                       help="feed values as they are: no resampling, filter or normalisation")
    group.add_argument("--from", type=values.not_negative, metavar="S", dest="begin", help="begin at this second of a "
                       "recording; what lies before it is still taken into account")
    group.add_argument("--to", type=values.positive, metavar="S", dest="end", help="end at this second; results still "
                       "count from the recording's start")
    tables = parser.add_argument_group("reading a table, where it does not tell by itself")
    tables.add_argument("--time", metavar="COLUMN", help="name of the column of times; 'none' where there is none")
    tables.add_argument("--time-unit", metavar="UNIT", help="of times that do not say it: s, ms, us")
    tables.add_argument("--unit", metavar="UNIT", help="of columns that do not say it: mV, uV, V (default mV)")
    tables.add_argument("--separator", metavar="MARK", help="between cells, such as ';'")
    tables.add_argument("--decimal", choices=(".", ","), metavar="MARK", help="mark of fractions")
    tables.add_argument("--skip-rows", type=values.natural, metavar="N", help="lines at the top that are passed "
                        "over; 0 says that a first line of 0, 1, ... is no row of names")
    tables.add_argument("--blank-rows", choices=("gap", "skip"), help="whether a blank line is a row of missing values "
                        "or nothing (default gap)")
    tables.add_argument("--blank-cells", choices=("warn", "gap", "refuse"), help="what becomes of missing values: a "
                        "gap, with a warning that counts them (the default) or without, or an error")
    tables.add_argument("--encoding", metavar="NAME", help="of the text (default: UTF-8, UTF-16 as it says, Latin-1)")


def read(source: str, model: UNet | Segmenter, arguments: argparse.Namespace) -> Batch:
    """The values of any input as they are, in a batch that fits a model; pixels are normalised per image
    (data.images.standardise) unless --raw says otherwise.

    Raises FileNotFoundError, ValueError for what does not fit the model, MissingExtra.
    """
    suffix = Path(source).suffix.lower()
    if suffix in IMAGES:
        batch = _read_image(source, model)
    elif suffix in ARRAYS:
        batch = read_array(source, model)
    elif suffix in TABLES:
        batch = _read_table(source, model, arguments)
    elif is_record(source):
        batch = record_batch(read_record(source.removesuffix(".dat"), chosen_leads(arguments)), model)
    else:
        known = ", ".join((*ARRAYS, *TABLES, *IMAGES))
        sheet = "; save the sheet as .csv" if suffix in SHEETS else ""
        raise ValueError(f"cannot read {source}: {suffix} is no suffix of a WFDB record, nor one of {known}{sheet}")
    if arguments.index is not None:
        batch = _one(batch, arguments.index)
    if arguments.fs is not None:
        refuse_other_rate(source, arguments.fs, batch.rate)
        batch = replace(batch, rate=arguments.fs)
    return batch if batch.shown is None or arguments.raw else _standardised(batch, batch.shown)


def is_record(source: str) -> bool:
    """Whether a path names a WFDB record; a name with a dot in it, such as rec.1, is one's where rec.1.hea is there."""
    return Path(source).suffix.lower() in RECORDS or (not Path(source).exists() and Path(f"{source}.hea").is_file())


def refuse_idle(source: str, images: bool, arguments: argparse.Namespace) -> None:
    """Raise ValueError for an option that would change nothing about an input of its kind.

    images : whether the network takes images
    """
    table, record = Path(source).suffix.lower() in TABLES, is_record(source)
    kind = "images" if images else "tables" if table else "WFDB records" if record else "arrays"
    senseless: tuple[str, ...] = ("fs", "rate", "begin", "end") if images else ()
    senseless += ("rate",) if arguments.raw else ()
    senseless += () if table else OF_TABLES
    senseless += () if table or record else ("leads",)
    for name in senseless:
        if getattr(arguments, name) is not None:
            way = "; --index N takes one of its leads" if name == "leads" and not images else ""
            raise ValueError(f"{_option(name)} says nothing about {source}: it is not for "
                             f"{'values as they are (--raw)' if name == 'rate' and not images else kind}{way}; leave "
                             "it out")


def refuse_options(arguments: argparse.Namespace, why: str) -> None:
    """Raise ValueError where an option of add_arguments is given and nothing is read by it."""
    given = [name for name in ("fs", "rate", "leads", "index", "begin", "end", *OF_TABLES)
             if getattr(arguments, name) is not None] + ["raw"] * arguments.raw
    if given:
        raise ValueError(f"{_option(given[0])} says how a file is read, and {why}; leave it out")


def _option(name: str) -> str:
    return "--" + {"begin": "from", "end": "to"}.get(name, name).replace("_", "-")


def record_batch(record: Record, model: UNet | Segmenter) -> Batch:
    """A WFDB record as it is: one sample a lead, or one sample of all leads when the network takes that many."""
    channels = channels_of(model, 2)
    if channels not in (1, len(record.leads)):
        raise ValueError(f"the network takes {channels} channels, not {len(record.leads)} leads; choose by --leads")
    told = f"{count(record.leads, 'lead')} x {record.signal.shape[1]} samples at {record.fs:g} Hz"
    if channels == 1:
        return Batch(record.signal[..., None], record.leads, told, record.fs)
    return Batch(record.signal.T[None], ("all leads",), told, record.fs)


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


def _read_image(source: str, model: UNet | Segmenter) -> Batch:
    pixels = images.read_image(source, channels_of(model, 3))
    told = f"{count(pixels, 'image')} x {pixels.shape[1]} x {pixels.shape[2]} pixels"
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
    if arguments.leads is None:
        return None
    names = [name.strip() for name in arguments.leads.split(",")]
    if "" in names:
        raise ValueError(f"--leads {arguments.leads!r} must be names with commas between them, such as I,II")
    return names


def read_table_of(source: str, arguments: argparse.Namespace) -> tuple[np.ndarray, float | None, tuple[str, ...]]:
    """data.read_table with the options of the command line."""
    options = {key: getattr(arguments, key) for key in OF_TABLES if key != "time"}
    options |= {"skip_rows": arguments.skip_rows, "blank_cells": arguments.blank_cells or "warn"}
    time = {None: None, "none": False}.get(arguments.time, arguments.time)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = read_table(source, leads=chosen_leads(arguments), time=time, **options)
    except ValueError as error:
        raise ValueError(_as_options(str(error))) from None
    for warning in warned:
        warnings.warn(_as_options(str(warning.message)), UserWarning, stacklevel=2)
    return found


def _as_options(told: str) -> str:
    """What read_table says with its options as this command writes them."""
    told = told.replace("see the options of npunet.data.read_table", "see the options of this command")
    told = told.replace("time=False", "time=none")
    return OPTION.sub(lambda found: f"--{found[1].replace('_', '-')}{found[2] and ' '}", told)


def _read_table(source: str, model: UNet | Segmenter, arguments: argparse.Namespace) -> Batch:
    """Rows are moments, columns are leads in mV; a column of times gives the rate."""
    channels = channels_of(model, 2)
    columns, rate, names = read_table_of(source, arguments)                  # (leads, L)
    told = f"{count(columns, 'column')} x {columns.shape[1]} samples"
    if channels not in (1, len(columns)):
        raise ValueError(f"{source}: {told} do not fit a network of {channels} channels; choose by --leads")
    if channels == 1:
        return Batch(columns[..., None], names, told, rate)
    return Batch(columns.T[None], ("all columns",), told, rate)


def refuse_other_rate(source: str, given: float | None, own: float | None) -> None:
    """Raise ValueError where --fs contradicts what a file says itself."""
    if given is not None and own is not None and abs(given - own) > 1e-3 * own:
        raise ValueError(f"--fs {given:g}: {source} says itself that it has {own:g} samples a second; leave --fs out")


def _standardised(batch: Batch, pixels: np.ndarray) -> Batch:
    """A batch of images, each normalised; whole numbers become fractions before that, as in image files."""
    pixels = np.stack([images.fractions(image) for image in pixels])
    return replace(batch, x=images.standardise(pixels), told=f"{batch.told}, normalised")


def _one(batch: Batch, index: int) -> Batch:
    if not 0 <= index < len(batch.x):
        raise ValueError(f"--index {index} is not there; the input has {len(batch.x)} samples, counted from 0")
    part = slice(index, index + 1)
    shown = None if batch.shown is None else batch.shown[part]
    return replace(batch, x=batch.x[part], names=batch.names[part], shown=shown,
                   told=f"{batch.names[index]} of {batch.told}")


def channels_of(model: UNet | Segmenter, rank: int) -> int:
    """Channels of a model for signals (rank 2) or images (rank 3). Raises ValueError when it is for the other."""
    if len(model.input_shape) != rank:
        kind, other = ("signals", "images") if rank == 3 else ("images", "signals")
        raise ValueError(f"the network takes {kind} of shape {model.input_shape}, the input is for {other}")
    return int(model.input_shape[-1] or 0)


def count(things: Sequence[Any] | np.ndarray, name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")
