"""Writing WFDB annotations, which PhysioNet's tools and the wfdb package read.

wfdb writes them too, but neither an empty file nor one for a record with a dot or a space in its name.
Source: PhysioNet, WFDB file formats, annot(5), "MIT format".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from npunet.files import atomic_write

CODES = {"N": 1, '"': 22, "p": 24, "t": 27, "(": 39, ")": 40}
SKIP, CHANNEL, AUX = 59, 62, 63
RESERVED = ("dat", "hea", "npy", "npz", "csv")


class Mark(NamedTuple):
    """One annotation: a sample, a WFDB symbol, the signal that it stands on, and a note (mostly empty)."""

    sample: int
    symbol: str
    channel: int
    note: str = ""


def check_annotator(name: str) -> str:
    """An annotator's name, the suffix of its file. Raises ValueError for what WFDB tools would not read."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name.lower() in RESERVED:
        raise ValueError(f"{name!r} is no name of an annotator: letters, digits and underscores, such as npu, and none "
                         f"of {', '.join(RESERVED)}")
    return name


def write_annotation(path: str | os.PathLike[str], marks: Iterable[Mark], fs: float | None = None) -> None:
    """Write marks, in the order of time, atomically.

    fs : samples per second, written into the file; None where the record's header tells it

    Words of 16 bits: code * 1024 + samples since the last mark; SKIP has a longer interval in the next two words, the
    high one first; CHANNEL holds for the marks that follow; AUX is a text; an empty word ends the file.
    Raises ValueError for a mark before sample 0 or the mark before it, or beyond sample 2^31.
    """
    words: list[int] = []
    now, channel = 0, 0
    if fs is not None:
        words += [CODES['"'] << 10, *_aux(f"## time resolution: {fs:.12g}")]
    for mark in marks:
        if not now <= mark.sample < 2**31:
            raise ValueError(f"a mark at sample {mark.sample} cannot follow one at {now}")
        interval, now = mark.sample - now, mark.sample
        if interval > 1023:
            words += [SKIP << 10, interval >> 16, interval & 0xFFFF]
            interval = 0
        words.append(CODES[mark.symbol] << 10 | interval)
        if mark.channel != channel:
            channel = mark.channel
            words.append(CHANNEL << 10 | channel)
        if mark.note:
            words += _aux(mark.note)
    with atomic_write(path) as file:
        file.write(b"".join(word.to_bytes(2, "little") for word in (*words, 0)))


def _aux(text: str) -> list[int]:
    """A text as words; at most 255 bytes of it, as readers allow."""
    content = text.encode("ascii", "replace")[:255]
    padded = content + b"\0" * (len(content) % 2)
    return [AUX << 10 | len(content), *(padded[at] | padded[at + 1] << 8 for at in range(0, len(padded), 2))]


def annotation_path(folder: str | os.PathLike[str], record: str, annotator: str) -> Path:
    """Where an annotation goes. Raises FileExistsError for one that is there already beside the record's header: it may
    be somebody's work."""
    path = Path(folder) / f"{record}.{annotator}"
    if path.exists() and path.with_suffix(".hea").exists():
        raise FileExistsError(f"{path} is there already, beside its record; choose another name, or remove it")
    return path
