"""The textual forms of a port's outputs: $readmemh words, and a log over a serial line."""

from __future__ import annotations

import re
import zlib

Entries = list[tuple[str, bytes]]
Faults = list[tuple[str, str]]
WORD_DIGITS = 8
INTEGER_DIGITS = {2, 4, 8, 16}  # of int8, int16, int32, int64
LINE = re.compile(r"NPU (BUNDLE|TENSOR|DATA|END)\b ?(.*)$")


def read_mem(text: str, digits: int = WORD_DIGITS) -> bytes:
    """The words of a $readmemh file as little-endian bytes. Raises ValueError for anything else.

    digits : of a word, two for every byte of the tensor's type
    """
    words = [word for line in text.splitlines() for word in line.partition("//")[0].split()]
    return words_to_bytes(words, digits)


def words_to_bytes(words: list[str], digits: int = WORD_DIGITS) -> bytes:
    """So many hex digits a word, the most significant first, to little-endian bytes."""
    wrong = next((word for word in words if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", word)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:20]!r} is no {4 * digits}-bit word of {digits} hex digits")
    return b"".join(bytes.fromhex(word)[::-1] for word in words)


def read_uart(text: str) -> tuple[Entries, Faults, set[str]]:
    """Tensors between NPU TENSOR and NPU END lines; other lines are the port's own talk and are passed over.

    Returns the tensors by name, what was wrong (place, reason), and the bundle digests stated.
    """
    entries: Entries = []
    faults: Faults = []
    digests: set[str] = set()
    name: str | None = None
    words: list[str] = []
    count = 0
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.search(line)
        if not match:
            continue
        kind, rest = match[1], match[2].split()
        if kind == "BUNDLE":
            digests.add(rest[0] if rest else "")
        elif kind == "TENSOR":
            if name is not None:
                faults.append((name, f"line {number}: another tensor begins before NPU END"))
            name, words = (rest[0] if rest else None), []
            if len(rest) != 2 or not re.fullmatch(r"\d{1,12}", rest[1]):
                faults.append((f"line {number}", "must be NPU TENSOR <case>/<key> <number of words>"))
                name = None
            else:
                count = int(rest[1])
        elif name is None:
            faults.append((f"line {number}", f"NPU {kind} outside of a tensor"))
        elif kind == "DATA":
            words += rest
        else:
            fault = _uart_fault(words, count, rest)
            if fault:
                faults.append((name, f"line {number}: {fault}"))
            else:
                entries.append((name, words_to_bytes(words, digits_of(words))))
            name = None
    if name is not None:
        faults.append((name, "the log ends before NPU END"))
    return entries, faults, digests


def digits_of(words: list[str]) -> int:
    """Digits of a tensor's words: those of an integer where all have them, else those of 32 bits."""
    lengths = {len(word) for word in words}
    return lengths.pop() if len(lengths) == 1 and lengths <= INTEGER_DIGITS else WORD_DIGITS


def _uart_fault(words: list[str], count: int, rest: list[str]) -> str | None:
    if len(words) != count:
        return f"{len(words)} words instead of {count}: bytes were lost on the line"
    try:
        raw = words_to_bytes(words, digits_of(words))
    except ValueError as error:
        return str(error)
    if len(rest) != 1 or not re.fullmatch(r"[0-9a-fA-F]{8}", rest[0]):
        return "NPU END must carry the CRC-32 of the tensor's little-endian bytes, eight hex digits"
    if int(rest[0], 16) != zlib.crc32(raw):
        return f"CRC-32 is {zlib.crc32(raw):08x}, the log says {rest[0]}: a word was garbled on the line"
    return None
