"""Multipliers that a port's outputs show: what comes of a sum never falls as its factor grows, so they lie between two.

Every pair of a sum and an output bounds the multiplier of its channel from both sides; where all pairs of a channel
leave something between, those are its multipliers, and one of them is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from npunet.integer.fixed_point import requantize
from npunet.integer.ops.conv import unclamped
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.factors import HIGHEST, LOWEST
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS

MOST = 2**31 - 1
ENOUGH = 4  # outputs of a factor that differ
SHOWN = 3
Suspect = tuple[str, Callable[[Evidence], np.ndarray]]
Rule = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # of sums, multipliers and a shift: outputs


@dataclass(frozen=True)
class _Factor:
    """A multiplier and a shift of a layer, with all that they were applied to: (n,) each.

    named : whose;  sums, got, right : what was multiplied, what came of it, what should have
    keys  : of both in the node's arrays, in which they stand at `at`, or in its attributes
    """

    named: str
    sums: np.ndarray
    got: np.ndarray
    right: np.ndarray
    rule: Rule
    keys: tuple[str, str]
    at: int = 0


def multipliers(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """Of a layer whose sums are right, another multiplier, or multiplier and shift, in some channels or parts of it."""
    node = evidence[0].node
    arrays = {key: node.arrays[key].copy() for key in ("multiplier", "shift") if key in node.arrays}
    attrs: dict[str, int] = {}
    told = []
    for factor in _factors(evidence):
        differ = np.count_nonzero(factor.got != factor.right)
        if not differ:
            continue
        held = [arrays[key] if key in arrays else np.array([node.attrs[key]]) for key in factor.keys]
        m, s = (int(values[factor.at]) for values in held)
        sums, got = np.unique(np.stack([factor.sums, factor.got]), axis=1)
        found = _solved(sums, got, factor.rule, m, s) if differ >= ENOUGH else None
        if found is None:
            return
        made, words = _likely(*found[:2], node.arrays.get("multiplier", held[0]), factor.at)
        said = [f"another multiplier ({words})"] if made != m else []
        said += [f"another shift ({found[2]} instead of {s})"] if found[2] != s else []
        told.append(f"{factor.named}: {' and '.join(said)}")
        for key, value in zip(factor.keys, (made, found[2]), strict=True):
            if key in arrays:
                arrays[key][factor.at] = value
            else:
                attrs[key] = value
    if told:
        more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        count = f"{len(told)} of {len(arrays['shift'])} channels" if arrays else "requantising"
        yield (f"has other factors in {count}, {'; '.join(told[:SHOWN])}{more}",
               lambda e: e.run(attrs=attrs, arrays=arrays))


def _factors(evidence: Sequence[Evidence]) -> Iterator[_Factor]:
    """Every factor of a layer whose sums and results are known."""
    node, rounding = evidence[0].node, evidence[0].network.rounding
    a = node.attrs

    def finish(sums: np.ndarray, m: np.ndarray, s: int) -> np.ndarray:
        return np.clip(requantize(sums, m, s, rounding) + a["output_offset"], a["act_min"], a["act_max"])

    def of_channels(sums: np.ndarray, m: np.ndarray, s: int) -> np.ndarray:
        return np.clip(unclamped(sums, node.arrays["bias"], m, np.asarray(s), a["output_offset"], rounding),
                       a["act_min"], a["act_max"])

    def of_input(sums: np.ndarray, m: np.ndarray, s: int) -> np.ndarray:
        return requantize(sums, m, s, rounding)

    def joined(of: Callable[[Evidence], np.ndarray]) -> np.ndarray:
        return np.concatenate([of(e).ravel() for e in evidence])

    sums_shown = all("acc" in e.shown for e in evidence)
    sums_right = not any("acc" in e.shown and not np.array_equal(e.shown["acc"], e.accumulator) for e in evidence)
    got, right = joined(lambda e: e.got), joined(lambda e: e.right)
    if node.op in CONVOLUTIONS and sums_right:
        channels = [np.concatenate([values.reshape(-1, len(node.arrays["bias"])) for values in each]) for each in zip(
            *((e.accumulator, e.got, e.right) for e in evidence), strict=True)]
        for f in range(len(node.arrays["bias"])):
            sums, made, wanted = (values[:, f] for values in channels)
            yield _Factor(f"channel {f}", sums, made, wanted, of_channels, ("multiplier", "shift"), f)
    elif node.op == "add" and sums_right:
        yield _Factor("its sum", joined(lambda e: e.accumulator), got, right, finish,
                      ("output_multiplier", "output_shift"))
    elif node.op == "add" and sums_shown:
        inputs = [np.concatenate([x.ravel() for x in each]) for each in zip(*(e.inputs for e in evidence), strict=True)]
        parts = [(x.astype(np.int64) + a[f"input{n}_offset"]) << a["left_shift"] for n, x in enumerate(inputs, 1)]
        scaled = [requantize(x, a[f"input{n}_multiplier"], a[f"input{n}_shift"], rounding)
                  for n, x in enumerate(parts, 1)]
        shown = joined(lambda e: e.shown["acc"])
        for n in (0, 1):
            factor = _Factor(f"its input {n}", parts[n], shown - scaled[1 - n], scaled[n],
                             of_input, (f"input{n + 1}_multiplier", f"input{n + 1}_shift"))
            if len(np.unique(np.stack([factor.sums, factor.got]), axis=1)[0]) == len(np.unique(factor.sums)):
                yield factor                                       # it is a function of this input alone
                return
    elif node.op in ("rescale", "leaky_relu"):
        x = joined(lambda e: e.inputs[0].astype(np.int64)) + a["input_offset"]
        parts_of = {"": np.ones(x.shape, bool)} if node.op == "rescale" else {"positive_": x >= 0, "negative_": x < 0}
        for part, at in parts_of.items():
            yield _Factor(f"{part[:-1]} values" if part else "its input", x[at], got[at], right[at], finish,
                          (f"{part}multiplier", f"{part}shift"))


def _solved(sums: np.ndarray, got: np.ndarray, outputs: Rule, m: int, s: int) -> tuple[int, int, int] | None:
    """(first, last multiplier, shift) that give what a channel has; None without one.

    Another shift with the same multiplier comes first, then another multiplier with the same shift, if it is not far
    below the right one or looks like a slip, then both.
    """
    found = [(*between, other) for other in sorted(range(LOWEST, HIGHEST + 1), key=lambda k: abs(k - s))
             if (between := _between(sums, got, outputs, other, 0 if other == s else 2**30)) is not None]
    for likely in (lambda first, last, other: first <= m <= last,
                   lambda first, last, other: other == s and (4 * last >= m or _slip(first, last, m)),
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
