"""The samples of a WFDB signal file, in every format that signal(5) defines.

Source: PhysioNet, WFDB file formats, signal(5).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npunet import memory
from npunet.data.wfdb_header import Signal
from npunet.extras import extra

NULL, NO_FILE = 0, "~"
Decoder = Callable[[np.ndarray, int], np.ndarray]  # bytes, and the number of samples in them


def _plain(dtype: str, zero: int = 0) -> Decoder:
    return lambda raw, count: raw[: count * np.dtype(dtype).itemsize].view(dtype).astype(np.int32) - np.int32(zero)


def _format_24(raw: np.ndarray, count: int) -> np.ndarray:
    low, middle, high = raw[: 3 * count].reshape(-1, 3).astype(np.int32).T
    return low | middle << 8 | high.astype(np.int8).astype(np.int32) << 16


def _format_212(raw: np.ndarray, count: int) -> np.ndarray:
    """Two samples of 12 bits in three bytes: the middle one holds the high bits of both."""
    low, middle, high = _padded(raw, 3).reshape(-1, 3).astype(np.int32).T
    pairs = np.stack([low | (middle & 15) << 8, high | (middle >> 4) << 8], 1)
    return _signed(pairs.ravel()[:count], 12)


def _format_310(raw: np.ndarray, count: int) -> np.ndarray:
    """Three samples of 10 bits in two words: each word holds one above its lowest bit, and five bits of the third."""
    first, second = _padded(raw, 4).view("<u2").reshape(-1, 2).astype(np.int32).T
    threes = np.stack([first >> 1 & 1023, second >> 1 & 1023, first >> 11 | second >> 11 << 5], 1)
    return _signed(threes.ravel()[:count], 10)


def _format_311(raw: np.ndarray, count: int) -> np.ndarray:
    """Three samples of 10 bits in one word of 32, the first in its lowest bits."""
    words = _padded(raw, 4).view("<u4").astype(np.int64)
    threes = np.stack([words & 1023, words >> 10 & 1023, words >> 20 & 1023], 1)
    return _signed(threes.ravel()[:count].astype(np.int32), 10)


def _padded(raw: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([raw, np.zeros(-len(raw) % size, np.uint8)])


def _signed(x: np.ndarray, bits: int) -> np.ndarray:
    return np.where(x >= 1 << (bits - 1), x - (1 << bits), x)


# by format: the decoder, the bytes that n samples take, the stored value that marks a sample as missing, if any
FORMATS: dict[int, tuple[Decoder, Callable[[int], int], int | None]] = {
    8: (_plain("i1"), lambda n: n, None),
    16: (_plain("<i2"), lambda n: 2 * n, -(1 << 15)),
    24: (_format_24, lambda n: 3 * n, -(1 << 23)),
    32: (_plain("<i4"), lambda n: 4 * n, -(1 << 31)),
    61: (_plain(">i2"), lambda n: 2 * n, -(1 << 15)),
    80: (_plain("u1", 128), lambda n: n, -128),
    160: (_plain("<u2", 32768), lambda n: 2 * n, -(1 << 15)),
    212: (_format_212, lambda n: (3 * n + 1) // 2, -(1 << 11)),
    310: (_format_310, lambda n: n // 3 * 4 + (0, 2, 4)[n % 3], -(1 << 9)),
    311: (_format_311, lambda n: n // 3 * 4 + (0, 2, 3)[n % 3], -(1 << 9)),
}
FLAC = {508: 8, 516: 16, 524: 24}  # bits of a sample, by format
MISSING: dict[int, int | None] = {**{number: known[2] for number, known in FORMATS.items()},
                                  **{number: -(1 << (bits - 1)) for number, bits in FLAC.items()}}
DIFFERENCES = 8  # the format whose samples are differences from the one before


def read_stored(folder: Path, signals: tuple[Signal, ...], length: int | None,
                wanted: list[int]) -> tuple[int, dict[int, np.ndarray]]:
    """The stored values of some signals of a record of one segment.

    length : frames, or None for as many as the files hold
    wanted : numbers of the signals

    Returns the frames, and by number the values (frames * per_frame,) int32, before any skew is taken back.
    Raises ValueError for a file that is missing, cut short or of another format.
    """
    groups: dict[str, list[int]] = {}
    for number, signal in enumerate(signals):
        groups.setdefault(signal.file, []).append(number)
    if length is None:
        length = min((_frames(folder, [signals[n] for n in members]) for name, members in groups.items()
                      if name != NO_FILE and set(members) & set(wanted)), default=0)
    found: dict[int, np.ndarray] = {}
    for name, members in groups.items():
        chosen = [number for number in members if number in wanted]
        if chosen and name != NO_FILE:
            together = _read_file(folder, [signals[number] for number in members], length)
            edges = np.cumsum([0, *(signals[number].per_frame for number in members)])
            for number in chosen:
                at = members.index(number)
                values = together[:, edges[at] : edges[at + 1]].reshape(-1)
                if signals[number].format == DIFFERENCES:
                    values = (np.cumsum(values, dtype=np.int64) + signals[number].initial).astype(np.int32)
                found[number] = values
    return length, found


def _read_file(folder: Path, members: list[Signal], length: int) -> np.ndarray:
    """The samples of one file: (frames, samples of all its signals in a frame) int32."""
    if members[0].format in FLAC:
        return _read_flac(folder, members, length)
    path, decode, needed = _file(folder, members)
    width = sum(signal.per_frame for signal in members)
    count, offset = length * width, members[0].offset
    there = path.stat().st_size - offset
    if there < needed(count):
        raise ValueError(f"its file {path.name} has {max(there, 0)} bytes of samples, and {width} x {length} in format "
                         f"{members[0].format} take {needed(count)}: it is cut short")
    memory.require(16 * count, f"a signal file of {count} samples", "read fewer leads, or cut the record")
    raw = np.fromfile(path, np.uint8, needed(count), offset=offset)
    if len(raw) != needed(count):
        raise ValueError(f"its file {path.name} ends after {len(raw)} of {needed(count)} bytes")
    return decode(raw, count).reshape(length, width)


def _read_flac(folder: Path, members: list[Signal], length: int) -> np.ndarray:
    """The same of a FLAC file, whose channels are the signals."""
    with _flac(folder, members) as file:
        per_frame = members[0].per_frame
        if file.frames < length * per_frame:
            raise ValueError(f"its file {members[0].file} has {file.frames} samples a signal, and its header says "
                             f"{length * per_frame}: it is cut short")
        memory.require(16 * length * per_frame * len(members), "a signal file", "read a shorter record")
        values = file.read(length * per_frame, dtype="int32", always_2d=True) >> (32 - FLAC[members[0].format])
    if len(values) != length * per_frame:
        raise ValueError(f"its file {members[0].file} ends after {len(values)} of {length * per_frame} samples")
    return values.reshape(length, per_frame, len(members)).swapaxes(1, 2).reshape(length, -1)


def _flac(folder: Path, members: list[Signal]) -> Any:
    """An open FLAC file. Raises ValueError where it is not what the header says, MissingExtra without soundfile."""
    first, path = members[0], folder / members[0].file
    if any((other.format, other.per_frame) != (first.format, first.per_frame) for other in members):
        raise ValueError(f"its header gives the FLAC file {first.file} several formats or rates")
    if not path.is_file():
        raise ValueError(f"its signal file {first.file} is missing in {folder}")
    file = extra("soundfile", "ecg").SoundFile(os.fspath(path))
    if (file.channels, file.subtype) != (len(members), f"PCM_{'S8' if first.format == 508 else FLAC[first.format]}"):
        with file:
            raise ValueError(f"its file {first.file} has {file.channels} channels of {file.subtype}, and its header "
                             f"says {len(members)} in format {first.format}")
    return file


def _frames(folder: Path, members: list[Signal]) -> int:
    """How many whole frames a signal file holds."""
    if members[0].format in FLAC:
        with _flac(folder, members) as file:
            return file.frames // members[0].per_frame
    path, _, needed = _file(folder, members)
    width, there = sum(signal.per_frame for signal in members), path.stat().st_size - members[0].offset
    low, high = 0, max(there, 0) + 1                                         # no sample takes less than a byte
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle * width) <= there else (low, middle)
    return low


def _file(folder: Path, members: list[Signal]) -> tuple[Path, Decoder, Callable[[int], int]]:
    first, path = members[0], folder / members[0].file
    if any(other.format != first.format or other.offset not in (0, first.offset) for other in members):
        raise ValueError(f"its header gives the file {first.file} several formats or offsets")
    if first.format not in FORMATS:
        raise ValueError(f"its file {first.file} is in format {first.format}, which npunet does not read; known are "
                         f"{', '.join(map(str, (*FORMATS, *FLAC)))}: write it anew by wfdb.wrsamp(..., fmt=['16'])")
    if not path.is_file():
        raise ValueError(f"its signal file {first.file} is missing in {folder}")
    decode, needed, _ = FORMATS[first.format]
    return path, decode, needed
