"""A log over a serial line: tensors between marked lines, whole or sample by sample.

    NPU BUNDLE <fingerprint of the bundle>                                 optional
    NPU PORT finite-math                                                   optional: it keeps no NaN and no infinities
    NPU TENSOR <case>/<key> <number of words> [<sample> <samples>]         sample counts from 0
    NPU DATA <word> <word> ...                                             as many lines as it takes
    NPU END <CRC-32 of the little-endian bytes>
    NPU FAULT <what went wrong>                                            instead of what was still to come
    NPU DONE <exit status>                                                 the program is finished, optional

A word has two hex digits for each byte of the tensor's type: eight for a float, less or more for integers, which are in
two's complement. Samples of a tensor come in order, each with its own NPU END; other tensors may stand between them.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

from npunet.verify.forms import WORD_DIGITS, words_to_bytes

Entries = list[tuple[str, bytes]]
Faults = list[tuple[str, str]]
LINE = re.compile(r"NPU (BUNDLE|TENSOR|DATA|END|FAULT|DONE)\b ?(.*)$")
DECLARATIONS = ("finite-math",)  # what a port may say of itself
PORT = re.compile(r"NPU PORT\b ?(.*)$")
HEAD = "must be NPU TENSOR <case>/<key> <number of words>, and for one of several samples its number and how many"
MOST_WORDS = 300  # letters of a fault that are told
WIDTHS = (2, 4, 8, 16)  # hex digits of 8, 16, 32, 64 bits


@dataclass
class Tensor:
    """What is being read: a tensor or one sample of it."""

    name: str
    count: int
    sample: int = 0
    samples: int = 1
    words: list[str] = field(default_factory=list)

    def read(self, rest: list[str]) -> bytes:
        """The bytes, when the last line agrees with them. Raises ValueError."""
        if len(self.words) != self.count:
            raise ValueError(f"{len(self.words)} words instead of {self.count}: bytes were lost on the line")
        digits = len(self.words[0]) if self.words and len(self.words[0]) in WIDTHS else WORD_DIGITS
        raw = words_to_bytes(self.words, digits)
        if len(rest) != 1 or not re.fullmatch(r"[0-9a-fA-F]{8}", rest[0]):
            raise ValueError("NPU END must carry the CRC-32 of the tensor's little-endian bytes, eight hex digits")
        if int(rest[0], 16) != zlib.crc32(raw):
            raise ValueError(f"CRC-32 is {zlib.crc32(raw):08x}, the log says {rest[0]}: a word was garbled on the line")
        return raw


def read_log(text: str) -> tuple[Entries, Faults, set[str]]:
    """Tensors between NPU TENSOR and NPU END lines; other lines are the port's own talk and are passed over.

    Returns the tensors by name, what was wrong (place, reason), and the bundle digests stated.
    """
    entries: Entries = []
    faults: Faults = []
    digests: set[str] = set()
    parts: dict[str, list[bytes]] = {}
    whole: dict[str, int] = {}
    now: Tensor | None = None
    lost = False  # whether the lines up to the next NPU TENSOR belong to what was told already
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.search(line)
        if not match:
            continue
        kind, rest = match[1], match[2].split()
        if kind == "BUNDLE":
            digests.add(rest[0] if rest else "")
        elif kind == "FAULT" or (kind == "DONE" and rest != ["0"]):
            words = ("exit status " if kind == "DONE" else "") + match[2].strip()[:MOST_WORDS]
            faults.append(("the program", words))
        elif kind == "DONE":
            continue
        elif kind == "TENSOR":
            if now is not None:
                faults.append((now.name, f"line {number}: another tensor begins before NPU END"))
            now, lost = _head(rest), True
            if now is None:
                faults.append((f"line {number}", HEAD))
        elif now is None:
            if not lost:
                faults.append((f"line {number}", f"NPU {kind} outside of a tensor"))
            lost = True
        elif kind == "DATA":
            now.words += rest
        else:
            try:
                if now.samples > 1:
                    whole.setdefault(now.name, now.samples)
                raw = now.read(rest)
                if now.samples == 1:
                    entries.append((now.name, raw))
                else:
                    _part(parts, whole, now, raw)
            except ValueError as error:
                faults.append((now.name, f"line {number}: {error}"))
            now, lost = None, False
    if now is not None:
        faults.append((now.name, "the log ends before NPU END"))
    for name, samples in whole.items():
        given = parts.get(name, [])
        if len(given) == samples:
            entries.append((name, b"".join(given)))
        else:
            faults.append((name, f"{len(given)} of its {samples} samples are there"))
    return entries, faults, digests


def _head(rest: list[str]) -> Tensor | None:
    """NPU TENSOR's words, or None where they are not as they must be."""
    if len(rest) not in (2, 4) or not all(re.fullmatch(r"\d{1,12}", word) for word in rest[1:]):
        return None
    sample, samples = (int(rest[2]), int(rest[3])) if len(rest) == 4 else (0, 1)
    return Tensor(rest[0], int(rest[1]), sample, samples) if sample < samples else None


def _part(parts: dict[str, list[bytes]], whole: dict[str, int], now: Tensor, raw: bytes) -> None:
    """Keep one of several samples. Raises ValueError where one before it is missing."""
    given = parts.setdefault(now.name, [])
    if now.sample != len(given) or whole[now.name] != now.samples:
        raise ValueError(f"sample {now.sample} of {now.samples} where sample {len(given)} of {whole[now.name]} was to "
                         "come: one was lost or came twice")
    given.append(raw)


def declared(text: str) -> tuple[set[str], Faults]:
    """What NPU PORT lines say of the port, words of DECLARATIONS; and what was wrong (place, reason)."""
    lines = [(number, PORT.search(line)) for number, line in enumerate(text.splitlines(), 1) if "NPU PORT" in line]
    said = [(number, match[1].strip()) for number, match in lines if match]
    faults = [(f"line {number}", f"NPU PORT {word[:20]!r}: a port can declare {', '.join(DECLARATIONS)}")
              for number, word in said if word not in DECLARATIONS]
    return {word for _, word in said if word in DECLARATIONS}, faults
