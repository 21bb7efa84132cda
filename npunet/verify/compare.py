"""Two tensors: how many elements differ, and by how much in every measure that an engineer asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log10

import numpy as np

BUCKETS = ("0", "1", "2-3", "4-7", "8-15", "16-255", "256-65535", "more", "class")
ZEROS = "every element is zero"  # a pattern
WIDE = 0.01  # of a tensor's range: a bound that is wider judges nothing
NOTHING = 2.0**-100  # a bound below this is not wide, however small the tensor's values are
CONSTANT = 2.0**-16  # a range below this share of the largest value is that of a constant, rounded
EDGES = np.array([1, 2, 4, 8, 16, 256, 65536])
CLASS = -1  # instead of a distance: a NaN, or an infinity, where there is none


@dataclass(frozen=True)
class Comparison:
    """got against want.

    size, differ : elements, and how many are not the same bits (a NaN equals every NaN; zeros have signs)
    wrong        : elements that break the rule: the same as differ, or with a bound those beyond it
    unjudged     : elements about which the bound promises nothing, or so little that it is wider than WIDE of the range
    wide         : those of them that have a bound, but a wide one
    apart        : with a bound, elements that must be NaN or infinite and are of another kind; they are not in `wrong`,
                   as a port that is compiled for finite numbers only has them
    flushed      : subnormal elements that are zero
    max_abs, max_rel, max_ulp : over the elements that differ and are finite on both sides
    classes      : elements that are NaN, +Inf, -Inf or finite on one side and not on the other
    snr          : 10 log10(sum want^2 / sum (got - want)^2) in dB over finite elements; infinite when equal
    share        : largest |got - want| / bound, or None without a bound; infinite for a NaN where a number is wanted
    histogram    : elements by BUCKETS of their distance in units in the last place
    first        : index of the first wrong element (of the first that differs when none is wrong), or None
    got, want    : what stands there
    pattern      : what all elements that differ have in common, in words, or ""
    """

    size: int
    differ: int
    wrong: int
    unjudged: int
    wide: int
    apart: int
    flushed: int
    max_abs: float
    max_rel: float
    max_ulp: int
    classes: int
    snr: float
    share: float | None
    histogram: tuple[int, ...] = field(repr=False)
    first: tuple[int, ...] | None
    got: float | None
    want: float | None
    pattern: str


def ordered(value: np.ndarray) -> np.ndarray:
    """float32 bits as int64 that grow with the value; both zeros are 0."""
    bits = np.ascontiguousarray(value, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Where two tensors have the same bits, or are both NaN."""
    if want.dtype.kind != "f":
        return got == want
    equal = np.ascontiguousarray(got).view("<u4") == np.ascontiguousarray(want).view("<u4")
    return equal | (np.isnan(got) & np.isnan(want))


def compare(
    got: np.ndarray,
    want: np.ndarray,
    bound: np.ndarray | None = None,
    classes_promised: np.ndarray | None = None,
    sums: bool = False,
) -> Comparison:
    """Compare bit for bit, or against a bound.

    got, want        : same shape, float32 or an integer type
    bound            : float, same shape; infinite where nothing is promised. What it allows and is wider than WIDE of
                       the range of want is not judged; what it does not allow is wrong however wide it is
    classes_promised : where bound is infinite, whether at least NaN and infinities must agree
    sums             : these are sums: in another order (Kahan's) one may be NaN where an infinity is wanted
    """
    equal = same(got, want)
    with np.errstate(all="ignore"):  # a signalling NaN says so when it is copied
        wide_got, wide_want = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(wide_got) & np.isfinite(wide_want)
    with np.errstate(all="ignore"):
        off = np.where(finite, np.abs(wide_got - wide_want), 0.0)
        same_class = finite | equal
        ratio = None
        if bound is None:
            wrong, unjudged, wide, apart = ~equal, 0, 0, 0
        else:
            open_ = ~np.isfinite(bound)
            promised = open_ & (False if classes_promised is None else classes_promised)
            wrong = ~open_ & (~same_class | (off > bound))
            loose = ~open_ & ~wrong & (bound > max(WIDE * extent(wide_want), NOTHING))
            lost = promised & ~same_class & ~(sums & np.isnan(wide_got) & np.isinf(wide_want))
            wide, apart = int(np.count_nonzero(loose)), int(np.count_nonzero(lost))
            unjudged = int(np.count_nonzero(open_ & ~promised)) + wide
            ratio = np.where(open_ | (same_class & (off == 0)), 0.0, off / np.maximum(bound, 1e-300))
            ratio = np.where(~open_ & ~same_class, np.inf, ratio)
        relative = np.where(finite & (wide_want != 0), off / np.abs(wide_want), 0.0)
        ulp = np.abs(ordered(got) - ordered(want)) if want.dtype.kind == "f" else np.abs(wide_got - wide_want)
        ulp = np.where(equal, 0, np.where(same_class, np.maximum(ulp, 1), CLASS)).astype(np.int64)
        noise, signal = float((off**2).sum()), float((np.where(finite, wide_want, 0.0) ** 2).sum())
    places = np.flatnonzero(wrong if wrong.any() else ~equal)
    first = tuple(int(i) for i in np.unravel_index(places[0], want.shape)) if len(places) else None
    return Comparison(
        size=want.size,
        differ=int(np.count_nonzero(~equal)),
        wrong=int(np.count_nonzero(wrong)),
        unjudged=unjudged,
        wide=wide,
        apart=apart,
        flushed=int(np.count_nonzero((wide_got == 0) & (wide_want != 0) & (np.abs(wide_want) < 2.0**-126))),
        max_abs=float(off.max(initial=0)),
        max_rel=float(relative.max(initial=0)),
        max_ulp=int(ulp.max(initial=0)),
        classes=int(np.count_nonzero(~same_class)),
        snr=inf if noise == 0 else -inf if signal == 0 else 10 * log10(signal) - 10 * log10(noise),
        share=None if ratio is None else float(ratio.max(initial=0)),
        histogram=histogram(ulp),
        first=first,
        got=None if first is None else got[first].item(),
        want=None if first is None else want[first].item(),
        pattern=pattern(got, want, ~equal),
    )


def extent(want: np.ndarray) -> float:
    """The range of the finite values, largest less smallest; the largest magnitude where all are one number."""
    finite = want[np.isfinite(want)]
    if not finite.size:
        return 0.0
    spread, largest = float(finite.max() - finite.min()), float(np.abs(finite).max())
    return spread if spread > CONSTANT * largest else largest


def histogram(ulp: np.ndarray) -> tuple[int, ...]:
    """Elements by BUCKETS."""
    counts = np.bincount(np.searchsorted(EDGES, ulp[ulp >= 0], side="right"), minlength=len(BUCKETS) - 1)
    return (*counts.tolist(), int(np.count_nonzero(ulp == CLASS)))


def pattern(got: np.ndarray, want: np.ndarray, differ: np.ndarray) -> str:
    """What the elements that differ have in common."""
    count = int(np.count_nonzero(differ))
    if not count:
        return ""
    if got.dtype.kind == "f" and np.isnan(got).all():
        return "every element is NaN: nothing was computed"
    if got.size > 1 and not got.any():
        return ZEROS
    a, b = got[differ], want[differ]
    if got.dtype.kind != "f":
        a, b = a.astype(np.int64), b.astype(np.int64)
    with np.errstate(all="ignore"):
        tests = (
            ("only the signs of zeros differ", (a == 0) & (b == 0)),
            ("NaN where there is a number", np.isnan(a) & ~np.isnan(b)),
            ("a number where there is NaN", ~np.isnan(a) & np.isnan(b)),
            ("they are zero where they must not be", a == 0),
            ("they are subnormal", (np.abs(b) < 2.0**-126) & (b != 0)),
            ("their signs are turned", (a == -b) & (b != 0)),
            ("they are twice what they must be", a == 2 * b),
            ("they are half of what they must be", 2 * a == b),
        )
    for words, test in tests:
        if test.all():
            return words
    if got.dtype.kind != "f" and (np.abs(a - b) == 1).all():
        return f"all that differ are 1 off{_of_where(differ)}"
    return _where(differ) or ("all that differ are 1 ULP off" if _one_ulp(a, b) else "")


def _of_where(differ: np.ndarray) -> str:
    told = _where(differ)
    return f", {told}" if told else ""


def _one_ulp(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype.kind == "f" and bool((np.abs(ordered(a) - ordered(b)) == 1).all())


def _where(differ: np.ndarray) -> str:
    """Whether what differs lies on one side, one channel, one sample."""
    if differ.ndim != 4:
        return ""
    found = []
    for axis, name in enumerate(("sample", "row", "column", "channel")):
        extent = differ.shape[axis]
        at = np.flatnonzero(differ.any(tuple(k for k in range(4) if k != axis)))
        if extent == 1 or len(at) == extent:
            continue
        if len(at) == 1:
            found.append(f"{name} {at[0]}")
        elif len(at) <= extent // 2:
            ends = {0, extent - 1} & set(at.tolist())
            border = [k for k in at if min(k, extent - 1 - k) < max(1, extent // 4)]
            if axis in (1, 2) and len(border) == len(at) and ends:
                found.append(f"the border {name}s {_list(at)}")
            else:
                found.append(f"{name}s {_list(at)}")
    return f"all that differ lie in {', '.join(found)}" if found else ""


def _list(numbers: np.ndarray) -> str:
    shown = ", ".join(map(str, numbers[:6].tolist()))
    return f"{shown}, ..." if len(numbers) > 6 else shown
