"""Words of hex digits, as $readmemh reads them."""

from __future__ import annotations

import re

WORD_DIGITS = 8


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
