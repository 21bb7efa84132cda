"""A bias, or a norm's parameter, that was solved from an output, in the words for how it comes from the right one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from npunet.verify.diagnose.regions import runs

NEAR = 4e-6  # of the largest: by which a solved bias may miss
SHOWN = 6
SEVERAL = 3  # channels from which on a rounding or a limit is one
FEWEST = 2  # values that are recognised elsewhere


def told(own: np.ndarray, solved: np.ndarray, room: np.ndarray, weights: Mapping[str, np.ndarray]) -> str:
    """ "left out in channel 3", "moved by 2 channels", "another in 2 of 5 channels: ..."; "" where it is the right one.

    own, solved : (F,) float64
    room        : how far the solved one may be off, (F,)
    weights     : the network's arrays, in one of which it may stand
    """
    room = room + NEAR * np.abs(own).max(initial=0)
    wrong = np.abs(solved - own) > room
    if not wrong.any():
        return ""
    at = np.flatnonzero(wrong)
    where = "" if wrong.all() else f" in channel{'s' if len(at) > 1 else ''} {runs(at)} of {len(own)}"
    for words, other in _rules(own, solved, wrong):
        if (np.abs(other - solved)[wrong] <= room[wrong]).all():
            return f"{words}{where}"
    if len(own) >= FEWEST:
        for words, fits in _elsewhere(own, solved, room, weights):
            if fits:
                return words
    c = int(np.abs(solved - own).argmax())
    return f"another in {len(at)} of {len(own)} channels: {solved[c]:.6g} instead of {own[c]:.6g} in channel {c}"


def _rules(own: np.ndarray, solved: np.ndarray, wrong: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(words, bias) of what is done to every channel that is wrong."""
    yield "left out", np.zeros_like(own)
    yield "with the other sign", -own
    yield "twice as large", 2 * own
    yield "without its sign", np.abs(own)
    yield "with its negative values taken for zero", np.maximum(own, 0)
    with np.errstate(all="ignore"):
        factor, step = float(np.median((solved / own)[wrong])), float(np.median((solved - own)[wrong]))
    if np.count_nonzero(wrong) > 1:
        for digits in (3, 6):
            yield f"times {factor:.{digits}g}", own * float(f"{factor:.{digits}g}")
            yield f"with {step:.{digits}g} added", own + float(f"{step:.{digits}g}")
        yield f"{solved[wrong][0]:.6g}, the same", np.full_like(own, solved[wrong][0])
    if np.count_nonzero(wrong) < SEVERAL:
        return  # one number is a short one, or the largest, by chance
    for point in range(1, 17):
        for how, rounding in (("rounded", np.rint), ("cut", np.trunc), ("cut downwards", np.floor)):
            yield f"with {point} fractional bits, {how}", rounding(own * 2.0**point) / 2.0**point
            for bits in (8, 16):
                top = 2.0 ** (bits - 1)
                yield (f"in {bits} bits with {point} fractional ones, {how}, saturated",
                       np.clip(rounding(own * 2.0**point), -top, top - 1) / 2.0**point)
    most = float(np.abs(solved).max())
    yield f"limited to +-{most:.4g}", np.clip(own, -most, most)


def _elsewhere(
    own: np.ndarray, solved: np.ndarray, room: np.ndarray, weights: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, bool]]:
    """(words, whether they hold) for values that stand in another place than they should."""
    F = len(own)
    yield "in reverse order", bool((np.abs(own[::-1] - solved) <= room).all())
    for by in range(1, F):
        yield f"moved by {by} channels, around the end", bool((np.abs(np.roll(own, by) - solved) <= room).all())
    order = np.abs(solved[:, None] - own).argmin(1)
    if (np.abs(own[order] - solved) <= room).all():
        listed = ", ".join(map(str, order[:SHOWN])) + (", ..." if F > SHOWN else "")
        yield f"of other channels: those of {listed}", True
    for by in range(1, F - 1):
        late = bool((np.abs(own[by:] - solved[:-by]) <= room[:-by]).all())
        yield f"read {by} elements too late, something else at its end ({solved[-1]:.6g})", late
        early = bool((np.abs(own[:-by] - solved[by:]) <= room[by:]).all())
        yield f"read {by} elements too early, something else at its start ({solved[0]:.6g})", early
    for name, array in weights.items():
        held = array.ravel().astype(np.float64)
        if len(held) >= F:
            fits = (np.abs(np.lib.stride_tricks.sliding_window_view(held, F) - solved) <= room).all(1)
            start = int(fits.argmax())
            yield f"read from {name}" + (f", from its element {start} on" if start else ""), bool(fits.any())
    if F == FEWEST and abs(own[1] - solved[0]) <= room[0]:
        yield f"read one element too late, something else at its end ({solved[-1]:.6g})", True
