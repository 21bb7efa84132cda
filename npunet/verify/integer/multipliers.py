"""Multipliers that a port's outputs show: what comes of a sum never falls as its factor grows, so they lie between two.

Every pair of a sum and an output bounds the multiplier of its channel from both sides; where all pairs of a channel
leave something between, those are its multipliers, and one of them is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npunet.integer.ops.conv import unclamped
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.factors import HIGHEST, LOWEST
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS

MOST = 2**31 - 1
ENOUGH = 4  # outputs of a channel that differ
SHOWN = 3
Suspect = tuple[str, Callable[[Evidence], np.ndarray]]
Rule = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # of sums, multipliers and a shift: outputs


def multipliers(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """Of a convolution whose sums are right, another multiplier, or multiplier and shift, in some channels."""
    node = evidence[0].node
    if node.op not in CONVOLUTIONS or any("acc" in e.shown and not np.array_equal(e.shown["acc"], e.accumulator)
                                          for e in evidence):
        return
    right_m, right_s = (node.arrays[key].astype(np.int64) for key in ("multiplier", "shift"))
    m, s, told = right_m.copy(), right_s.copy(), []
    low, high = node.attrs["act_min"], node.attrs["act_max"]

    def outputs(sums: np.ndarray, m: np.ndarray, s: int) -> np.ndarray:
        return np.clip(unclamped(sums, node.arrays["bias"], m, np.asarray(s), node.attrs["output_offset"],
                                 evidence[0].network.rounding), low, high)

    for f in range(len(m)):
        sums, got, right = (np.concatenate([each[..., f].ravel() for each in values]) for values in zip(
            *((e.accumulator, e.got, e.right) for e in evidence), strict=True))
        differ = np.count_nonzero(got != right)
        if not differ:
            continue
        sums, got = np.unique(np.stack([sums, got]), axis=1)
        found = _factor(sums, got, outputs, int(m[f]), int(s[f])) if differ >= ENOUGH else None
        if found is None:
            return
        first, last, s[f] = found
        m[f], words = _likely(first, last, right_m, f)
        said = [f"another multiplier ({words})"] if m[f] != right_m[f] else []
        said += [f"another shift ({s[f]} instead of {right_s[f]})"] if s[f] != right_s[f] else []
        told.append(f"channel {f}: {' and '.join(said)}")
    if told:
        arrays = {key: made.astype(node.arrays[key].dtype) for key, made in (("multiplier", m), ("shift", s))}
        more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        yield (f"has other factors in {len(told)} of {len(m)} channels, {'; '.join(told[:SHOWN])}{more}",
               lambda e: e.run(arrays=arrays))


def _factor(sums: np.ndarray, got: np.ndarray, outputs: Rule, m: int, s: int) -> tuple[int, int, int] | None:
    """(first, last multiplier, shift) that give what a channel has; None without one.

    Another shift with the same multiplier comes first, then another multiplier with the same shift, if it is one of 31
    bits or looks like a slip, then both.
    """
    found = [(*between, other) for other in sorted(range(LOWEST, HIGHEST + 1), key=lambda k: abs(k - s))
             if (between := _between(sums, got, outputs, other, 0 if other == s else 2**30)) is not None]
    for likely in (lambda first, last, other: first <= m <= last,
                   lambda first, last, other: other == s and (last >= 2**30 or _slip(first, last, m)),
                   lambda first, last, other: other != s):
        for each in found:
            if likely(*each):
                return (m, m, each[2]) if each[0] <= m <= each[1] else each
    return found[0] if found else None


def _between(sums: np.ndarray, got: np.ndarray, outputs: Rule, s: int, least: int) -> tuple[int, int] | None:
    """The first and the last multiplier of at least so much that give all of the outputs with a shift."""
    sign = np.where(sums < 0, -1, 1)
    if s > 0 and int(np.abs(sums).max()) << s >= 2**31:
        return None
    if not np.array_equal(outputs(sums, np.full_like(sums, least), s)[sums == 0], got[sums == 0]):
        return None

    def reached(wanted: np.ndarray) -> np.ndarray:
        """The least multiplier at which each sum gives that much, MOST + 1 where none does."""
        below, above = np.full_like(sums, least - 1), np.full_like(sums, MOST + 1)
        while (above - below > 1).any():
            middle = (below + above) >> 1
            enough = sign * outputs(sums, np.clip(middle, 0, MOST), s) >= wanted
            below, above = np.where(enough, below, middle), np.where(enough, middle, above)
        return above

    alive = sums != 0
    first, beyond = (int(of(reached(sign * got + more)[alive], initial=end)) for of, more, end in
                     ((np.max, 0, least), (np.min, 1, MOST + 1)))
    return (first, beyond - 1) if first < beyond else None


def _likely(first: int, last: int, multipliers: np.ndarray, f: int) -> tuple[int, str]:
    """One of the multipliers between two, the likeliest, and words for it."""
    right = int(multipliers[f])
    for k, other in enumerate(multipliers.tolist()):
        if k != f and first <= other <= last:
            return other, f"{other}, that of channel {k}, instead of {right}"
    slip = _slip(first, last, right)
    if slip:
        return slip[0], f"{slip[0]} instead of {right}, if {slip[1]}, or another from {first} to {last}"
    middle = right if first <= right <= last else (first + last) >> 1
    return middle, f"{middle} instead of {right}" + ("" if first == last else f", or another from {first} to {last}")


def _slip(first: int, last: int, right: int) -> tuple[int, str] | None:
    """The only multiplier between two that a slip of the pen makes of the right one, and which; None without one."""
    digits = str(right)
    mistyped = {int(digits[:k] + digit + digits[k + 1 :]) for k in range(len(digits)) for digit in "0123456789"}
    exchanged = {int(digits[:k] + digits[k + 1] + digits[k] + digits[k + 2 :]) for k in range(len(digits) - 1)}
    flipped = {right ^ (1 << k) for k in range(31)}
    for words, options in (("one digit of it is mistyped", mistyped), ("two digits of it are exchanged", exchanged),
                           ("one bit of it is flipped", flipped)):
        inside = [number for number in options if first <= number <= last]
        if len(inside) == 1 and inside[0] != right:
            return inside[0], words
    return None
