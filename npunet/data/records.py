"""WFDB records, such as LUDB's: leads in millivolts, and who marked what on them. The one reader of the package."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npunet import memory
from npunet.data.flat import warn_of_flat
from npunet.data.synthetic import NONE
from npunet.data.wfdb_annotations import annotation_labels, at_rate, read_annotation
from npunet.data.wfdb_header import DEFAULT_GAIN, Header, Signal, read_header
from npunet.data.wfdb_signals import MISSING, NO_FILE, read_stored
from npunet.reading import reading
from npunet.values import flag

WAY_OUT = "take a whole copy of it, or see the options of npunet.data.read_record"
NOT_ANNOTATIONS = ("dat", "hea")
NEAR = 0.1  # s: marks of one kind so near one another are one mark made again; in LUDB they are within 0.042 s


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


def read_record(path: str | os.PathLike[str], leads: Sequence[str] | None = None, *, verify: bool = True) -> Record:
    """Read a WFDB record, with the wave boundaries of every lead that has an annotation file named after it.

    path   : of the record, with or without ".hea" or ".dat"
    leads  : names of the leads to read, in this order, without regard to case where that leaves no choice; all by
             default
    verify : compare the samples with the checksums of the header; False for a record that is known to lack right ones

    Signals of format 8, 16, 24, 32, 61, 80, 160, 212, 310 and 311, and by the package soundfile 508, 516 and 524
    (FLAC); records of several segments, whose gaps are NaN. Annotations may count at a rate of their own. A lead
    without a name is called "signal 0" by its place; one whose header gives no gain is taken at 200 units a millivolt,
    as header(5) says, with a warning. A header with a length of 0, or without one, leaves it to the signal file.

    Raises FileNotFoundError without a header; ValueError for an unknown or ambiguous lead, a lead that is no voltage,
    leads of several rates, a checksum that contradicts the samples, a damaged file; MissingExtra for FLAC.
    """
    flag("verify", verify)
    base = _base(path)
    with reading(base, "is a WFDB record that cannot be read", WAY_OUT):
        header = _header(base)
        signal, fs, names = _many(base, header, leads, verify) if header.segments else _one(base, header, leads, verify)
        labels, spans = _annotations(base, names, fs, header.fs, signal.shape[1])
    warn_of_flat(f"{base}", signal, names)
    return Record(signal, fs, names, labels, spans)


def annotated_leads(path: str | os.PathLike[str]) -> list[str]:
    """Names of a record's leads that have an annotation file. Raises FileNotFoundError, ValueError."""
    base = _base(path)
    with reading(base, "is a WFDB record that cannot be read", WAY_OUT):
        header = _header(base)
        first = next((name for name, _ in header.segments if name != NO_FILE), None)
        signals = header.signals if first is None else _header(base.with_name(first)).signals
        names = [signal.name for signal in signals]
        return [name for name in names if _annotation_file(base, name, names)]


def find_records(folder: str | os.PathLike[str]) -> list[Path]:
    """The records of a WFDB folder, without suffix: those that its RECORDS file lists and that are there."""
    return [path for path in listed_records(folder) if Path(f"{path}.hea").is_file()]


def listed_records(folder: str | os.PathLike[str]) -> list[Path]:
    """The records that the RECORDS file of a WFDB folder lists, without suffix. Raises FileNotFoundError."""
    listing = Path(folder) / "RECORDS"
    with reading(listing, "is no list of records", "write one name a line"):
        names = [line.strip() for line in listing.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [listing.parent / name for name in names if name and "\0" not in name]


def _base(path: str | os.PathLike[str]) -> Path:
    """A record's path without suffix. Raises FileNotFoundError where it has no header."""
    base = Path(os.fspath(path).removesuffix(".hea"))
    if base.suffix == ".dat" and not Path(f"{base}.hea").is_file() and base.with_suffix(".hea").is_file():
        base = base.with_suffix("")
    if not Path(f"{base}.hea").is_file():
        raise FileNotFoundError(f"no WFDB record {base}: there is no file {base}.hea")
    return base


def _header(base: Path) -> Header:
    path = Path(f"{base}.hea")
    memory.require(64 * path.stat().st_size, "reading the header", "take a smaller file")
    with reading(path, "is a WFDB header that cannot be read", "mend the line, or take a whole copy"):
        return read_header(path)


def _one(base: Path, header: Header, leads: Sequence[str] | None,
         verify: bool) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """Signal (leads, L) float32 in mV, samples per second, and names, of a record of one segment."""
    if not header.signals:
        raise ValueError("it has no signals")
    chosen = _chosen([signal.name for signal in header.signals], leads)
    signals = [header.signals[number] for number in chosen]
    _refuse_other_units(signals)
    per_frame = _common_frame(signals, header.fs)
    length, stored = read_stored(base.parent, header.signals, header.length, chosen)
    if length == 0:
        raise ValueError("it has no samples")
    memory.require(12 * length * per_frame * len(chosen), "its signal", "read fewer leads")
    made = np.full((len(chosen), length * per_frame), np.nan, np.float32)
    for row, number in enumerate(chosen):
        if number in stored:
            if verify and header.length is not None:
                _verify(header.signals[number], stored[number])
            made[row] = _physical(header.signals[number], stored[number])
    if uncalibrated := [signal.name for signal in signals if signal.gain is None and signal.file != NO_FILE]:
        warnings.warn(f"{base}: the header gives no gain for {', '.join(uncalibrated)}; taken as {DEFAULT_GAIN:g} "
                      "units a millivolt, as WFDB does", UserWarning, stacklevel=4)
    return made, header.fs * per_frame, tuple(signal.name for signal in signals)


def _many(base: Path, header: Header, leads: Sequence[str] | None,
          verify: bool) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """The same of a record of several segments, one after the other; what a segment lacks is a gap.

    A first segment of length 0 is the layout: it names the signals, and the others hold some of them, by name.
    """
    heads = {name: _header(base.with_name(name)) for name, _ in header.segments if name != NO_FILE}
    total = sum(length for _, length in header.segments)
    if nested := [name for name, head in heads.items() if head.segments]:
        raise ValueError(f"its segment {nested[0]} has segments itself")
    if not heads or total == 0 or header.length not in (None, total):
        raise ValueError(f"its header says {header.length} samples, and its segments have {total}")
    if other := [name for name, head in heads.items() if head.fs != header.fs]:
        raise ValueError(f"its segment {other[0]} is at {heads[other[0]].fs:g} Hz, the record at {header.fs:g}")
    first = next(name for name, _ in header.segments if name != NO_FILE)
    layout = header.segments[0][1] == 0
    signals = heads[first].signals
    if not layout and any([s.name for s in head.signals] != [s.name for s in signals] for head in heads.values()):
        raise ValueError("its segments have different leads, and no segment of length 0 says which leads it has")
    chosen = _chosen([signal.name for signal in signals], leads)
    names = [signals[number].name for number in chosen]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"it has several leads called {repeated[0]!r}; choose others by leads= (--leads)")
    _refuse_other_units([signals[number] for number in chosen])
    per_frame = _common_frame([signals[number] for number in chosen], header.fs)
    memory.require(4 * total * per_frame * len(names), "its signal", "read fewer leads (--leads)")
    made = np.full((len(names), total * per_frame), np.nan, np.float32)
    start = 0
    for name, length in header.segments:
        stop = start + length * per_frame
        head = heads.get(name)
        held = [lead for lead in names if head and any(signal.name == lead for signal in head.signals)]
        if head and held and length:
            if head.length not in (None, length):
                raise ValueError(f"its segment {name} has {head.length} samples, and the record says {length}")
            part = _one(base.with_name(name), head, held, verify)[0]
            if part.shape[1] != stop - start:
                raise ValueError(f"its segment {name} has {part.shape[1]} samples a lead, not {stop - start}")
            for row, lead in enumerate(held):
                made[names.index(lead), start:stop] = part[row]
        start = stop
    return made, header.fs * per_frame, tuple(names)


def _chosen(known: list[str], leads: Sequence[str] | None) -> list[int]:
    """Numbers of the leads of these names: as they are spelled, else without case."""
    if leads is None:
        return list(range(len(known)))
    if isinstance(leads, str):
        raise ValueError(f"leads={leads!r} must be a list of names, such as [{leads!r}]")
    numbers = []
    for lead in leads:
        found = [number for number, name in enumerate(known) if name == lead]
        found = found or [number for number, name in enumerate(known) if name.lower() == str(lead).lower()]
        if not found:
            raise ValueError(f"it has no lead {lead!r}; it has {', '.join(known)}")
        if len(found) > 1:
            raise ValueError(f"it has {len(found)} leads called {lead!r}, {', '.join(known[n] for n in found)}; give "
                             "them names of their own in the header, or read all by leaving leads (--leads) out")
        numbers += found
    if not numbers:
        raise ValueError(f"leads={leads!r} names no lead; it has {', '.join(known)}")
    return numbers


def _refuse_other_units(signals: Sequence[Signal]) -> None:
    for signal in signals:
        if signal.millivolts is None:
            raise ValueError(f"its lead {signal.name!r} is in {signal.unit}, which is no voltage; choose others by "
                             "name (leads=, --leads)")


def _common_frame(signals: Sequence[Signal], fs: float) -> int:
    rates = {signal.per_frame for signal in signals}
    if len(rates) > 1:
        told = ", ".join(f"{signal.name} {fs * signal.per_frame:g} Hz" for signal in signals)
        raise ValueError(f"its leads have several rates: {told}; choose leads of one rate by name (leads=, --leads)")
    return rates.pop()


def _verify(signal: Signal, stored: np.ndarray) -> None:
    if signal.checksum is None:
        return
    found = int(stored.sum(dtype=np.int64)) & 0xFFFF
    if found != signal.checksum & 0xFFFF:
        raise ValueError(f"the checksum of its lead {signal.name!r} is {found}, and the header says "
                         f"{signal.checksum & 0xFFFF}: samples or header were changed; verify=False reads it all the "
                         "same")


def _physical(signal: Signal, stored: np.ndarray) -> np.ndarray:
    """Millivolts of stored values: (stored - baseline) / gain, NaN where a value marks a missing sample."""
    missing = MISSING[signal.format]
    physical = (stored - np.float64(signal.baseline)) / (signal.gain or DEFAULT_GAIN)
    if missing is not None:
        physical[stored == missing] = np.nan
    late = signal.skew * signal.per_frame
    if late:
        physical = np.concatenate([physical[late:], np.full(min(late, len(physical)), np.nan)])
    assert signal.millivolts is not None                                     # refused by name before anything is read
    with np.errstate(over="ignore"):
        made = (physical * signal.millivolts).astype(np.float32)
    if np.isinf(made).any():
        raise ValueError(f"its lead {signal.name!r} has values beyond 3e38 mV: its gain "
                         f"{signal.gain or DEFAULT_GAIN:g} cannot be right; mend the header")
    return made


def _annotations(base: Path, names: Sequence[str], fs: float, counted: float,
                 length: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels (leads, length) and spans (leads, 2) from files named after the leads, or None without any.

    counted : rate at which an annotation counts that gives none itself: the record's frames
    """
    files = [_annotation_file(base, name, names) for name in names]
    if not any(files):
        return None, None
    labels, spans = np.full((len(names), length), NONE, np.uint8), np.zeros((len(names), 2), int)
    for row, path in enumerate(files):
        if path is not None:
            with reading(path, "is an annotation that cannot be read"):
                samples, symbols, rate = read_annotation(path)
                labels[row], spans[row] = annotation_labels(at_rate(samples, rate or counted, fs), symbols, length,
                                                            near=NEAR * fs)
    return labels, spans


def _annotation_file(base: Path, name: str, names: Sequence[str]) -> Path | None:
    """The annotation of a lead: the file whose suffix is its name, as spelled or in lower case."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name.lower() in NOT_ANNOTATIONS:
        return None
    for suffix in dict.fromkeys((name, name.lower())):
        path = base.with_name(f"{base.name}.{suffix}")
        if path.is_file():
            rivals = [other for other in names if other.lower() == name.lower()]
            if len(rivals) > 1 and (suffix != name or rivals.count(name) > 1):
                raise ValueError(f"{path.name} could belong to any of its leads {', '.join(rivals)}; read one of them "
                                 "by leads= (--leads), or give them names of their own in the header")
            return path
    return None
