"""A result in words for a person."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any

from npunet.verify.compare import BUCKETS, WIDE, ZEROS, Comparison
from npunet.verify.diagnose import Diagnosis
from npunet.verify.results import (
    ERROR,
    FAIL,
    INCOMPLETE,
    INHERITED,
    NON_FINITE,
    NOT_JUDGED,
    PASS,
    SKIPPED,
    Check,
    LayerVerdict,
    Result,
    Statistic,
)

SHOWN = 8


def text(result: Result, every: bool = False) -> str:
    """The report for a terminal; every : a line for every layer, else for those that are wrong."""
    lines = [*_head(result), *_first(result), *_table(result, every), *_histogram(result), *_rest(result)]
    counted = ", ".join(
        f"{count} {status}"
        for status in (PASS, FAIL, INHERITED, NOT_JUDGED, SKIPPED, ERROR)
        if (count := sum(layer.status == status for layer in result.layers))
    )
    checks = sum(len(layer.checks) for layer in result.layers) + len(result.others) + len(result.inputs)
    return "\n".join(
        [
            *lines,
            f"{checks} tensors of {len(result.layers)} layers compared in {result.seconds:.1f} s: "
            f"{counted or 'no layer'}{_searched(result.diagnosis)}",
            *_scope(result),
            f"VERDICT {result.verdict}",
            "",
        ]
    )


def _scope(result: Result) -> list[str]:
    """What a verdict without a failure rests on."""
    lines = []
    missing = len(result.unchecked_cases) + len(result.partial_cases)
    if result.verdict == INCOMPLETE:
        layers = sum(layer.status == PASS for layer in result.layers)
        lines.append(f"PASS of {result.cases - missing} of {result.cases} cases and {layers} of {len(result.layers)} "
                     "layers: nothing is wrong in what was given")
    if result.verdict == NON_FINITE:
        lines.append(f"what is finite is right in {result.cases - missing} of {result.cases} cases; a port that is not "
                     "meant to keep NaN and infinities (-ffast-math) says so by --finite-math")
    if result.verdict in (PASS, INCOMPLETE, NON_FINITE, NOT_JUDGED):
        lines += [f"cannot see: {spot}" for spot in result.cannot_see]
    return lines


def _head(result: Result) -> list[str]:
    how = "within the derived bound of every element" if result.bounded else f"bit for bit, {result.order}"
    lines = [f"{result.bundle['model']}: {result.bundle['folder']} ({result.bundle['fingerprint'][:16]}), {how}"]
    lines += [f"ERROR   {fault}" for fault in result.faults[:SHOWN]]
    if len(result.faults) > SHOWN:
        lines.append(f"ERROR   and {len(result.faults) - SHOWN} more")
    return [*lines, ""]


def _first(result: Result) -> list[str]:
    first = result.first
    if first is None or first.status != FAIL:
        return []
    check = first.worst
    assert check is not None, "a layer fails by its checks"
    fed = "fed with golden inputs" if check.scope == "layer" or _golden_fed(check) else "fed with the port's own inputs"
    if first.number < 0:
        fed = "not the input of this bundle"
    told = check.told
    lines = [
        f"FIRST DIVERGENCE  {first.record['id']} ({describe(first.record)})   {fed}: FAIL",
        f"  case {check.case}, {check.role}: {told.differ} of {told.size} differ, max {amount(told)}"
        + (f", first at {list(told.first)}: got {told.got!r}, want {told.want!r}" if told.first else ""),
    ]
    if check.unseen:
        lines.append(f"  not given before it: {', '.join(check.unseen)}; the fault may lie in one of them")
    acc = next((other for other in first.checks if other.role == "acc" and other.case == check.case), None)
    if acc is not None and check.role == "out":
        lines.append(
            "  its accumulator is right: the fault lies in the bias or after it"
            if acc.status == PASS
            else "  its accumulator (before the bias) differs already"
        )
    if told.share is not None:
        lines.append(f"  the largest error is {_times(told.share)} the bound; {told.wrong} elements break it")
    if told.pattern:
        lines.append(f"  pattern: {told.pattern}{_nothing_written(first)}")
    if check.note:
        lines.append(f"  {check.note}")
    return [*lines, *_diagnosis(result.diagnosis), ""]


def _nothing_written(first: LayerVerdict) -> str:
    """What zeros everywhere say, where they stand in every case that fails."""
    told = {check.told.pattern for check in first.checks if check.status == FAIL}
    return ": nothing was written" if told == {ZEROS} else ""


def _golden_fed(check: Check) -> bool:
    return check.own is None or check.own.differ == check.chained.differ


def _diagnosis(found: Diagnosis | None) -> list[str]:
    if found is None:
        return []
    cut = [f"  {found.cut} ({found.seconds:.0f} s; --time-limit SECONDS)"] if found.cut else []
    if not found.causes:
        return [f"  DIAGNOSIS  none of {found.tried} hypotheses gives this output", *cut]
    lines = []
    for number, cause in enumerate(found.causes):
        if not cause.found:
            return [f"  DIAGNOSIS  {cause.words}", *cut]
        head = "DIAGNOSIS " if number == 0 else "  or       "
        how = "" if cause.exact else " up to rounding"
        words = cause.words
        told = words if words.startswith("the layer ") else f"output equals the reference with: {words}"
        lines.append(
            f"  {head} {told}  ({cause.explained}/{cause.total}{how})"
            if cause.whole
            else f"  {head} nearest: {cause.words}  ({cause.explained}/{cause.total}{how}; "
            f"unchanged reference {found.unchanged}/{found.total})"
        )
    return lines + cut


def _searched(found: Diagnosis | None) -> str:
    return "" if found is None else f"; {found.tried} causes tried in {found.seconds:.1f} s of it"


def describe(record: dict[str, Any]) -> str:
    """A layer in a few words: conv2d k1x3 s1x1 d1x2."""
    parts = [record["operator"]]
    for key, letter in (("kernel", "k"), ("stride", "s"), ("dilation", "d"), ("factor", "x")):
        if record[key] and (key == "kernel" or max(record[key]) > 1):
            parts.append(f"{letter}{'x'.join(map(str, record[key]))}")
    return " ".join(parts)


def amount(found: Comparison) -> str:
    """The largest difference."""
    if found.classes == found.differ and found.differ:
        return "a difference of kind (NaN or infinity)"
    if isinstance(found.want, int):
        return f"{found.max_abs:,.0f}"
    return f"{found.max_ulp} ULP ({found.max_abs:.3g})" + (
        f", {found.classes} of another kind" if found.classes else ""
    )


def _table(result: Result, every: bool) -> list[str]:
    shown = [layer for layer in result.layers if layer.worst and (every or layer.status not in (PASS, SKIPPED))]
    if not shown:
        return []
    width = max(len(layer.record["id"]) for layer in shown)
    lines = [
        f"  {'layer':<{width}} {'operator':<20} {'n':>8} {'differ':>8} {'max-abs':>9} {'max-rel':>9} {'max-ULP':>11} "
        f"{'SNR dB':>7} {'err/bound':>9} verdict"
    ]
    lines += [row(layer, width) for layer in (shown if every else shown[: 4 * SHOWN])]
    if len(shown) > 4 * SHOWN and not every:
        lines.append(f"  and {len(shown) - 4 * SHOWN} more (--all shows every layer)")
    return [*lines, *_inherited(result), ""]


def row(layer: LayerVerdict, width: int) -> str:
    """One line of the table."""
    worst = layer.worst
    assert worst is not None, "only layers with checks have a line"
    found, decided = worst.chained, worst.told
    snr = f"{found.snr:.1f}" if isfinite(found.snr) else "inf" if found.snr > 0 else "-inf"
    share = "-" if decided.share is None else part(decided.share)
    return (
        f"  {layer.record['id']:<{width}} {layer.record['operator']:<20} {found.size:>8} {found.differ:>8} "
        f"{found.max_abs:>9.3g} {found.max_rel:>9.3g} {found.max_ulp:>11} {snr:>7} {share:>9} {layer.status}"
    )


def _inherited(result: Result) -> list[str]:
    layers = [layer for layer in result.layers if layer.status == INHERITED]
    if not layers:
        return []
    return [
        f"  {len(layers)} layers, {layers[0].record['id']} to {layers[-1].record['id']}: inherited, right for the "
        "inputs that they were fed with"
    ]


def histogram(result: Result) -> tuple[int, ...]:
    """Elements of all checks by their distance in units in the last place."""
    counts = [0] * len(BUCKETS)
    for layer in result.layers:
        for check in layer.checks:
            counts = [a + b for a, b in zip(counts, check.chained.histogram, strict=True)]
    return tuple(counts)


def _histogram(result: Result) -> list[str]:
    counts = histogram(result)
    shown = [f"{name}: {count}" for name, count in zip(BUCKETS, counts, strict=True) if count]
    return [f"ULP histogram  {' | '.join(shown)}"] if shown else []


def _rest(result: Result) -> list[str]:
    lines = [
        f"{check.case}/{check.layer}.{check.role}: {check.chained.wrong} of {check.chained.size} beyond the tolerance"
        for check in result.others
        if check.status != PASS
    ]
    lines += _bounds(result)
    skipped = [layer.record["id"] for layer in result.layers if layer.status == SKIPPED]
    if skipped:
        lines.append(
            f"NOT CHECKED  {len(skipped)} layers: {', '.join(skipped[:SHOWN])}"
            + (f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else "")
        )
    for words, cases in (("not given", result.unchecked_cases), ("given in part", result.partial_cases)):
        if cases:
            more = f" and {len(cases) - 4} more" if len(cases) > 4 else ""
            lines.append(f"cases {words}: {', '.join(cases[:4])}{more}")
    lines += [f"note    {note}" for note in result.notes]
    if result.ignored:
        lines.append(
            f"passed over, not in the bundle: {', '.join(result.ignored[:4])}"
            + (f" and {len(result.ignored) - 4} more" if len(result.ignored) > 4 else "")
        )
    return lines


def part(share: float) -> str:
    """A share of a bound, never 0 for what is not 0."""
    return "inf" if share == inf else f"{share:.3f}" if share == 0 or 0.001 <= share < 1e5 else f"{share:.2e}"


def _times(share: float) -> str:
    return "of another kind than" if share == inf else f"{part(share)} times"


def _bounds(result: Result) -> list[str]:
    """What a comparison with bounds used of them, could not judge, and judged apart."""
    if not result.bounded:
        return []
    checks = [check for layer in result.layers for check in layer.checks]
    judged = [(check.own or check.chained, check) for check in checks if check.status in (PASS, FAIL)]
    shares = [(found.share, check.layer) for found, check in judged if found.share is not None]
    lines = []
    if shares:
        share, layer = max(shares)
        lines.append(f"largest share of a layer's own bound used: {part(share)} ({layer})")
    unjudged = sum((check.own or check.chained).unjudged for check in checks)
    if unjudged:
        lines.append(f"{unjudged} elements were not judged: overflow, where the bound promises nothing, or a bound "
                     f"wider than {WIDE:g} of the tensor's range")
    if result.apart:
        lines.append(_non_finite(result))
    wide = [layer.record["id"] for layer in result.layers if layer.status == NOT_JUDGED]
    if wide:
        more = f" and {len(wide) - SHOWN} more" if len(wide) > SHOWN else ""
        lines.append(f"NOT JUDGED  {len(wide)} layers, whose bound is wider than {WIDE:g} of their range: "
                     f"{', '.join(wide[:SHOWN])}{more}; dump every layer to judge each by itself")
    return lines + [_statistic(found) for found in result.statistics[:SHOWN]]


def _non_finite(result: Result) -> str:
    """Where NaN or infinity must stand and does not: a failure of its own, or declared."""
    count, where = sum(result.apart.values()), list(result.apart)
    more = f" and {len(where) - SHOWN // 2} more" if len(where) > SHOWN // 2 else ""
    listed = f"{', '.join(where[:SHOWN // 2])}{more}"
    said = f"{count} elements that must be NaN or infinite are of another kind, in {len(where)} layers: {listed}"
    return f"NON-FINITE  not judged, the port declares finite-math: {said}" if result.finite_math else \
        f"NON-FINITE  FAIL: {said}"


def _statistic(found: Statistic) -> str:
    """The statistical criterion in one line."""
    times = found.rms / found.spread if found.spread else 0.0
    flips = "" if found.flips is None else f"; {found.flips} of {found.labels} labels flip"
    told = "FAIL, no order of summation explains it" if found.fails else "as another order of summation may be off"
    return (f"STATISTICAL (no proof)  {found.case}/{found.layer}: rms error {found.rms:.3g}, {times:.3g} times the "
            f"largest of {found.orders} sampled orders of summation ({found.spread:.3g}): {told}{flips}")
