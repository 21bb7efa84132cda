"""What is typed on the command line as a value: what is out of range or empty is refused with the option's name, and
never taken for "not given"."""

from __future__ import annotations

import argparse
import math

LARGEST_SEED, LARGEST_COUNT = 2**63 - 1, 2**31 - 1


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def not_negative(text: str) -> float:
    """A finite number, 0 or more."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must not be negative")
    return value


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must not be negative")
    return value


def counting(text: str) -> int:
    """A whole number, 1 or more."""
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    if value > LARGEST_COUNT:
        raise argparse.ArgumentTypeError(f"{text} is too large; take a whole number below 2^31")
    return value


def seed(text: str) -> int:
    """What random numbers begin with: a whole number from 0 to 2^63 - 1."""
    value = natural(text)
    if value > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text} is too large; take a whole number below 2^63")
    return value


def names(text: str) -> list[str]:
    """"a,b,c" as names, at least one."""
    found = [name.strip() for name in text.split(",")]
    if "" in found:
        raise argparse.ArgumentTypeError(f"{text!r:.40} must be names with commas between them")
    return found


def byte_count(text: str) -> int:
    """"300K", "3M", "1G" or a number of bytes, at least 1."""
    unit = {"K": 10, "M": 20, "G": 30}.get(text[-1:].upper(), 0)
    try:
        value = int(float(text[:-1] if unit else text) * (1 << unit))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number of bytes; write 8M, 500K or 4000000") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least one byte")
    return value


def shape(text: str) -> tuple[int | None, ...]:
    """"256,1", "256x256x1" or "none,1"."""
    try:
        sizes = text.lower().replace("x", ",").split(",")
        return tuple(None if size in ("none", "any") else int(size) for size in sizes)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no shape; write 256,1 or none,1 or 256,256,1") from None


def size(text: str) -> str | tuple[int, ...]:
    """"full", "auto", "256" or "64x48"."""
    if text in ("full", "auto"):
        return text
    try:
        sizes = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no size; write 256, 64x48 or full") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1 along every axis")
    return sizes


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} must be finite")
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number") from None
