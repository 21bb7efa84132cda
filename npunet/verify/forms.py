"""The textual forms of a port's outputs: $readmemh words, and a log over a serial line."""

from __future__ import annotations

import re
import zlib

Entries = list[tuple[str, bytes]]
Faults = list[tuple[str, str]]
WORD_DIGITS = 8
DECLARATIONS = ("finite-math",)  # what a port may say of itself
PORT = re.compile(r"NPU PORT\b ?(.*)$")
LINE = re.compile(r"NPU (BUNDLE|TENSOR|DATA|END)\b ?(.*)$")


def read_mem(text: str) -> bytes:
    """The 32-bit words of a $readmemh file as little-endian bytes. Raises ValueError for anything else."""
    words = [word for line in text.splitlines() for word in line.partition("//")[0].split()]
    return words_to_bytes(words)


def words_to_bytes(words: list[str]) -> bytes:
    """Eight hex digits a word, the most significant first, to little-endian bytes."""
    wrong = next((word for word in words if not re.fullmatch(r"[0-9a-fA-F]{8}", word)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:20]!r} is no 32-bit word of {WORD_DIGITS} hex digits")
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
                entries.append((name, words_to_bytes(words)))
            name = None
    if name is not None:
        faults.append((name, "the log ends before NPU END"))
    return entries, faults, digests


def declared(text: str) -> tuple[set[str], Faults]:
    """What NPU PORT lines say of the port, words of DECLARATIONS; and what was wrong (place, reason)."""
    lines = [(number, PORT.search(line)) for number, line in enumerate(text.splitlines(), 1) if "NPU PORT" in line]
    said = [(number, match[1].strip()) for number, match in lines if match]
    faults = [(f"line {number}", f"NPU PORT {word[:20]!r}: a port can declare {', '.join(DECLARATIONS)}")
              for number, word in said if word not in DECLARATIONS]
    return {word for _, word in said if word in DECLARATIONS}, faults


def _uart_fault(words: list[str], count: int, rest: list[str]) -> str | None:
    if len(words) != count:
        return f"{len(words)} words instead of {count}: bytes were lost on the line"
    try:
        raw = words_to_bytes(words)
    except ValueError as error:
        return str(error)
    if len(rest) != 1 or not re.fullmatch(r"[0-9a-fA-F]{8}", rest[0]):
        return "NPU END must carry the CRC-32 of the tensor's little-endian bytes, eight hex digits"
    if int(rest[0], 16) != zlib.crc32(raw):
        return f"CRC-32 is {zlib.crc32(raw):08x}, the log says {rest[0]}: a word was garbled on the line"
    return None
