"""Patterns of bits: stuck or flipped lines, bytes in another order, mantissas cut short."""

from __future__ import annotations

import numpy as np

from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.places import places
from npunet.verify.diagnose.regions import runs

MOST = 4  # bits that are stuck together
FEW = 4  # elements of which one bit is flipped


def _bits(value: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(value, np.float32).view(np.uint32)


def _floats(bits: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bits, np.uint32).view(np.float32)


def _listed(mask: int) -> str:
    at = np.array([k for k in range(32) if mask >> k & 1])
    return f"bit {at[0]}" if len(at) == 1 else f"bits {runs(at)}"


@pattern()
def stuck_bit(s: Sight) -> Guesses:
    """Bits of every element, or of every element in a part, that are always 0, always 1 or always turned."""
    right, got = _bits(s.right), _bits(s.got)
    off = np.bitwise_or.reduce((right ^ got)[s.differs])
    mask = int(off)
    if not 0 < mask.bit_count() <= MOST:
        return
    ways = (("stuck at 1", right | off), ("stuck at 0", right & ~off), ("turned", right ^ off))
    spots = [("in every element", np.ones(s.got.shape, bool))]
    for words, bits in ways:
        if np.array_equal(bits[s.differs], got[s.differs]) and np.count_nonzero(s.differs) > FEW:
            spots += [(place.words, place.mask) for place in places(s.differs)]
            for where, mask_of in spots:
                yield Guess(f"{_listed(mask)} {words} {where}", _floats(np.where(mask_of, bits, right)))


@pattern(rank=2)
def flipped_bit(s: Sight) -> Guesses:
    """A few elements of which one bit each is another."""
    at = np.argwhere(s.differs)
    if len(at) > FEW:
        return
    off = (_bits(s.right) ^ _bits(s.got))[s.differs]
    if all(int(value).bit_count() == 1 for value in off):
        told = ", ".join(f"{_listed(int(value))} of {place.tolist()}" for place, value in zip(at, off, strict=True))
        yield Guess(f"single bits are flipped: {told}", s.got)


@pattern()
def bytes_reordered(s: Sight) -> Guesses:
    """The bytes of every element in another order."""
    raw = np.ascontiguousarray(s.right, np.float32).view(np.uint8).reshape(-1, 4)
    for order, words in (
        ((2, 3, 0, 1), "the 16-bit halves of every element exchanged"),
        ((1, 0, 3, 2), "the bytes within every 16 bits exchanged"),
        ((3, 2, 1, 0), "the bytes of every element in the other order"),
    ):
        yield Guess(f"the right numbers with {words}", raw[:, order].copy().view(np.float32).reshape(s.right.shape))
    flat = raw.reshape(-1)
    for by in (-3, -2, -1, 1, 2, 3):
        moved = np.roll(flat, by)
        end = slice(0, 4 * by) if by > 0 else slice(4 * by, None)
        moved[end] = np.ascontiguousarray(s.got).view(np.uint8).reshape(-1)[end]
        yield Guess(f"the right numbers, moved by {by:+d} bytes", moved.view(np.float32).reshape(s.right.shape))
    packed = s.right.astype(np.float16).view(np.uint16).ravel()
    if packed.size % 2 == 0:
        y = np.zeros(s.right.size, np.float32)
        y[: packed.size // 2] = packed.view(np.float32)
        yield Guess("float16 written where float32 is read", y.reshape(s.right.shape))


@pattern()
def mantissa_short(s: Sight) -> Guesses:
    """Low bits of every mantissa that are always 0."""
    used = int(np.bitwise_or.reduce(_bits(s.got)[np.isfinite(s.got)], initial=0))
    gone = (used & -used).bit_length() - 1 if used else 32
    if not 1 <= gone < 23:
        return
    right = _bits(s.right).astype(np.uint64)
    unit, kept = np.uint64(1 << gone), ~np.uint64((1 << gone) - 1)
    half, odd = np.uint64((1 << gone) // 2), (right >> np.uint64(gone)) & np.uint64(1)
    for words, bits in (
        ("cut", right & kept),
        ("rounded, ties to even", (right + half - np.uint64(1) + odd) & kept),
        ("rounded, ties away from zero", (right + half) & kept),
        ("rounded up in magnitude", (right + unit - np.uint64(1)) & kept),
    ):
        y = np.where(np.isfinite(s.right), _floats(bits.astype(np.uint32)), s.right)
        form = {13: " (TF32)", 16: " (bfloat16)"}.get(gone, "")
        yield Guess(f"the output stored with {23 - gone} bits of mantissa{form}, {words}", y)
