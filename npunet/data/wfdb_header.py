"""The header of a WFDB record: where its samples stand, at which rate, in which unit.

The header says how every other file of a record is read, so what it does not say in so many words is not guessed:
what the format leaves out takes the value that header(5) gives, and anything else is refused with the line.
Source: PhysioNet, WFDB file formats, header(5).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_RATE, DEFAULT_GAIN = 250.0, 200.0  # header(5): what holds where a header gives none
MILLIVOLTS = {"mv": 1.0, "v": 1e3, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6, "millivolt": 1.0, "millivolts": 1.0,
              "microvolt": 1e-3, "microvolts": 1e-3, "volt": 1e3, "volts": 1e3}  # by the unit in lower case
FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
GAIN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:\(([-+]?\d+)\))?(?:/(.+))?", re.IGNORECASE)
RATE = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:/[^(]*(?:\(.*\))?)?", re.IGNORECASE)
MOST_SIGNALS, MOST_PER_FRAME, MOST_SKEW = 4096, 10_000, 10_000_000
LARGEST = 2**31  # of any whole number in a header but lengths


@dataclass(frozen=True)
class Signal:
    """One signal of a record.

    file, format : file that holds its samples ("~" for none), and the number of their format, see signal(5)
    per_frame    : samples in each frame; the record's rate counts frames
    skew         : frames by which its samples stand too late in the file
    offset       : bytes of the file before the first sample
    gain         : stored units in a physical one; None where the header gives none or 0
    baseline     : stored value of the physical 0
    unit         : of the physical value, as the header spells it
    initial      : value of the first sample
    checksum     : sum of all stored samples modulo 2^16; None where the header gives none, or 0
    """

    name: str
    file: str
    format: int
    per_frame: int
    skew: int
    offset: int
    gain: float | None
    baseline: int
    unit: str
    initial: int
    checksum: int | None

    @property
    def millivolts(self) -> float | None:
        """How many millivolts one unit is, or None where the unit is no voltage."""
        return MILLIVOLTS.get(self.unit.lower())


@dataclass(frozen=True)
class Header:
    """What a .hea file says.

    fs       : frames per second
    length   : frames of each signal, or None where the header leaves it to the signal file
    signals  : of a record of one segment
    segments : name and frames of each segment of a record of several; "~" names a gap
    """

    fs: float
    length: int | None
    signals: tuple[Signal, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()


def read_header(path: Path) -> Header:
    """Read a .hea file. Raises FileNotFoundError, ValueError with the line that cannot be read."""
    text = decoded(path.read_bytes())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    fields = lines[0].split() if lines else []
    if len(fields) < 2:
        raise ValueError(f"its first line {lines[0] if lines else '':.60} gives no record name and number of signals")
    parts = fields[0].split("/")
    count = _whole(fields[1], "the number of signals", 0, MOST_SIGNALS)
    fs = _rate(fields[2]) if len(fields) > 2 else DEFAULT_RATE
    length = (_whole(fields[3], "the number of samples", 0, 2**62) or None) if len(fields) > 3 else None
    if len(parts) > 2:
        raise ValueError(f"{fields[0]!r:.60} is no record name")
    if len(parts) == 2:
        segments = _segments(lines[1:], _whole(parts[1], "the number of segments", 1, 10_000_000))
        return Header(fs, length, segments=segments)
    if len(lines) - 1 < count:
        raise ValueError(f"it announces {count} signals and describes {len(lines) - 1}")
    return Header(fs, length, tuple(_signal(line, number) for number, line in enumerate(lines[1 : count + 1])))


def decoded(content: bytes) -> str:
    """Text of a header: UTF-8 where it is that, else Latin-1, in which older programs wrote the unit µV."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def refuse_outside(name: str) -> str:
    """The name of another file of the record. Raises ValueError for one that lies outside of the record's folder."""
    path = Path(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"it names the file {name!r:.80}, which lies outside of its folder")
    return name


def _signal(line: str, number: int) -> Signal:
    fields = line.split(maxsplit=8)
    shape = FORMAT.fullmatch(fields[1]) if len(fields) > 1 else None
    if shape is None:
        raise ValueError(f"its line {line!r:.80} gives no file and format of a signal")
    per_frame, skew, offset = (int(text) if text and len(text) < 12 else 0 for text in shape.groups()[1:])
    if len(shape[0]) > 40 or per_frame > MOST_PER_FRAME or skew > MOST_SKEW:
        raise ValueError(f"the format {shape[0]!r:.60} of signal {number} is out of range")
    scale = GAIN.fullmatch(fields[2]) if len(fields) > 2 else None
    if len(fields) > 2 and scale is None:
        raise ValueError(f"the gain {fields[2]!r:.60} of signal {number} cannot be read; write 200(0)/mV")
    gain = float(scale[1]) if scale else 0.0
    if not math.isfinite(gain):
        raise ValueError(f"the gain {fields[2]!r:.60} of signal {number} is not finite")
    zero, initial = (_whole(fields[at], what, -LARGEST, LARGEST) if len(fields) > at else 0
                     for at, what in ((4, "the ADC zero"), (5, "the first value")))
    baseline = zero if scale is None or scale[2] is None else _whole(scale[2], "the baseline", -LARGEST, LARGEST)
    checksum = _whole(fields[6], "the checksum", -LARGEST, 2 * LARGEST) if len(fields) > 6 else None
    checksum = checksum or None                                              # whoever does not sum writes 0
    return Signal(fields[8].strip() if len(fields) > 8 else f"signal {number}", refuse_outside(fields[0]),
                  int(shape[1][:6]), per_frame or 1, skew, offset, gain or None, baseline,
                  scale[3] if scale and scale[3] else "mV", initial, checksum)


def _segments(lines: list[str], count: int) -> tuple[tuple[str, int], ...]:
    if len(lines) < count:
        raise ValueError(f"it announces {count} segments and lists {len(lines)}")
    found = []
    for line in lines[:count]:
        fields = line.split()
        if len(fields) < 2:
            raise ValueError(f"its line {line!r:.80} gives no name and length of a segment")
        found.append((refuse_outside(fields[0]), _whole(fields[1], f"the length of segment {fields[0]:.40}", 0, 2**62)))
    return tuple(found)


def _rate(text: str) -> float:
    found = RATE.fullmatch(text)
    fs = float(found[1]) if found else math.nan
    if not (math.isfinite(fs) and fs > 0):
        raise ValueError(f"the sampling rate {text!r:.60} is not a positive number")
    return fs


def _whole(text: str, what: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[-+]?\d{1,20}", text) or not low <= int(text) <= high:
        raise ValueError(f"{what}, {text!r:.60}, is not a whole number from {low} to {high}")
    return int(text)
