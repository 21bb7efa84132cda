"""What a port did to its input before the network saw it: turned, scaled, normalised twice, another case's taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf

import numpy as np

from npunet.golden.reader import Bundle
from npunet.verify.compare import same
from npunet.verify.diagnose.causes import Cause, Diagnosis
from npunet.verify.diagnose.sums import to_bfloat16
from npunet.verify.layouts import LAYOUTS, stored_as

NEAR = 2.0**-12  # of the largest magnitude: agreement up to rounding
TIME_LIMIT = 6.0  # seconds
SHOWN = 3
CUT = "the search was cut at its time limit: not everything that may have been done to the input was tried"
UNITS = (
    (1e3, "multiplied by 1000 (volt in millivolt, millivolt in microvolt)"), (1e6, "multiplied by 1e6 (in microvolt)"),
    (1e-3, "divided by 1000 (microvolt in millivolt, millivolt in volt)"), (1e-6, "divided by 1e6"),
    (255.0, "multiplied by 255"), (1 / 255, "divided by 255 (a second time)"),
    (256.0, "multiplied by 256"), (1 / 256, "divided by 256"),
    (127.0, "multiplied by 127"), (1 / 127, "divided by 127"),
    (128.0, "multiplied by 128"), (1 / 128, "divided by 128"),
    (32768.0, "multiplied by 32768"), (1 / 32768, "divided by 32768"),
    (100.0, "multiplied by 100"), (0.01, "divided by 100"), (2.0, "doubled"), (0.5, "halved"),
)
NORMALISED: dict[tuple[int, ...], str] = {
    (1, 2): "every channel", (1, 2, 3): "every sample", (0, 1, 2, 3): "the batch", (2,): "every row"}
Reading = Callable[[np.ndarray], "np.ndarray | None"]


def readings(shown: bool) -> Iterator[tuple[str, str, Reading]]:
    """(name, words, what is done to an input (N, H, W, C); None where it does not apply).

    shown : the port shows its input, so that formats of it are no formats of what a layer reads
    """
    for axes, words in (((2,), "reversed (columns from the last to the first)"), ((1,), "turned upside down (rows)"),
                        ((1, 2), "turned by 180 degrees"), ((3,), "with its channels in reverse order"),
                        ((0,), "with its samples in reverse order")):
        yield "input_reversed", words, partial(np.flip, axis=axes)
    yield "input_negated", "negated", np.negative
    for factor, words in UNITS:
        yield "input_scaled", words, partial(_scaled, factor)
    for part, words in NORMALISED.items():
        yield from _normalised(part, words)
    yield "input_transposed", "with rows and columns swapped", (
        lambda x: x.transpose(0, 2, 1, 3) if x.shape[1] == x.shape[2] > 1 else None)
    for layout in list(LAYOUTS)[1:]:
        yield "input_transposed", f"stored as {layout}", partial(stored_as, layout=layout)
    for by in (-1, 1):
        for axis, words in ((2, "column"), (1, "row")):
            told = f"shifted by one {words} ({by:+d})"
            yield "input_shifted", f"{told}, around the end", partial(np.roll, shift=by, axis=axis)
            yield "input_shifted", f"{told}, zero at the end", partial(_shifted, by, axis)
    yield "input_narrow", "rounded to whole numbers", np.rint
    yield "input_narrow", "cut to whole numbers", np.trunc
    yield "input_narrow", "in float16", lambda x: x.astype(np.float16).astype(np.float32)
    if shown:
        yield from _stored()
    yield "input_clipped", "clipped to -1 ... 1", lambda x: np.clip(x, -1, 1)
    yield "input_clipped", "clipped to 0 ... 1", lambda x: np.clip(x, 0, 1)
    yield "input_clipped", "without its sign", np.abs
    yield "input_clipped", "with its negative values taken for zero (unsigned)", lambda x: np.maximum(x, np.float32(0))
    yield "input_zero", "all zero: it was never filled", np.zeros_like
    yield "input_bytes", "with the bytes of every word in the other order", lambda x: x.byteswap()
    yield "input_repeated", "the first sample for every sample", (
        lambda x: np.broadcast_to(x[:1], x.shape) if len(x) > 1 else None)


def _stored() -> Iterator[tuple[str, str, Reading]]:
    """What text and narrow formats make of an input."""
    for form in (f".{digits}{kind}" for kind in "fg" for digits in range(1, 10)):
        yield "input_printed", f"printed with %{form} and read again", partial(_printed, form)
    for point in range(3, 17):
        yield "input_narrow", f"with {point} fractional bits", partial(_pointed, point)
    yield "input_narrow", "in bfloat16", to_bfloat16


def _printed(form: str, x: np.ndarray) -> np.ndarray:
    return np.array([float(format(value, form)) for value in x.ravel().tolist()], np.float32).reshape(x.shape)


def _pointed(point: int, x: np.ndarray) -> np.ndarray:
    return np.rint(x.astype(np.float64) * 2.0**point) / 2.0**point


def _scaled(factor: float, x: np.ndarray) -> np.ndarray:
    return (x.astype(np.float64) * factor).astype(np.float32)


def _normalised(axes: tuple[int, ...], part: str) -> Iterator[tuple[str, str, Reading]]:
    def by(center: Callable, width: Callable) -> Reading:
        def read(x: np.ndarray) -> np.ndarray:
            wide = x.astype(np.float64)
            return ((wide - center(wide)) / width(wide)).astype(np.float32)

        return read

    def mean(x: np.ndarray) -> np.ndarray:
        return x.mean(axes, keepdims=True)

    def low(x: np.ndarray) -> np.ndarray:
        return x.min(axes, keepdims=True)

    def span(x: np.ndarray) -> np.ndarray:
        return x.max(axes, keepdims=True) - low(x)

    for ddof, told in ((0, ""), (1, " (with n - 1)")):
        def deviation(x: np.ndarray, ddof: int = ddof) -> np.ndarray:
            return x.std(axes, ddof=ddof, keepdims=True)

        words = f"normalised again: {part} less its mean, over its deviation{told}"
        yield "input_normalised", words, by(mean, deviation)
        yield "input_normalised", f"divided by the deviation of {part}{told}", by(lambda x: 0, deviation)
    yield "input_normalised", f"less the mean of {part}", by(mean, lambda x: 1)
    yield "input_normalised", f"{part} stretched to 0 ... 1", by(low, span)
    yield "input_normalised", f"{part} stretched to -1 ... 1", by(lambda x: low(x) + span(x) / 2, lambda x: span(x) / 2)
    yield "input_normalised", f"{part} divided by its largest magnitude", (
        by(lambda x: 0, lambda x: np.abs(x).max(axes, keepdims=True)))


def _shifted(by: int, axis: int, x: np.ndarray) -> np.ndarray:
    moved = np.roll(x, by, axis)
    edge = [slice(None)] * x.ndim
    edge[axis] = slice(-1, None) if by < 0 else slice(0, 1)
    moved[tuple(edge)] = 0
    return moved


def explain(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], others: Sequence[tuple[str, np.ndarray]],
            through: Callable[[np.ndarray, int], np.ndarray] | None = None, deadline: float = inf) -> Diagnosis:
    """Which reading of the right inputs gives what the port has, in every case at once.

    name    : of what is explained, in the diagnosis
    pairs   : (the right input, the port's tensor) of every case that is wrong, float32
    others  : inputs of other cases of the same shape, by case
    through : what becomes of an input (and the number of its pair) until the port's tensor, nothing by default
    deadline : of time.perf_counter(), at which the search ends
    """
    pairs = [pair for pair in pairs if np.isfinite(pair[0]).all()] or list(pairs)
    total = sum(got.size for _, got in pairs)
    plain = [_through(through, x, k) for k, (x, _) in enumerate(pairs)]
    unchanged = sum(int(np.count_nonzero(same(y, got))) for y, (_, got) in zip(plain, pairs, strict=True))
    rounded = all(_near(y, got) for y, (_, got) in zip(plain, pairs, strict=True))  # the right input is as near
    causes, tried, cut = [], 0, ""
    end = min(time.perf_counter() + TIME_LIMIT, deadline)
    stale = [("input_of_another_case", f"that of the case {case}", lambda x, value=value: value)
             for case, value in others]
    for reading, words, read in (*readings(through is None), *(stale if len(pairs) == 1 else ())):
        if time.perf_counter() > end:
            cut = CUT
            break
        tried += 1
        fits, exact, changed = True, True, False
        for k, (x, got) in enumerate(pairs):
            with np.errstate(all="ignore"):
                made = read(x)
            if made is None or made.shape != x.shape:
                fits = False
                break
            made = np.ascontiguousarray(made, np.float32)
            changed |= not same(made, x).all()
            out = _through(through, made, k)
            exact &= bool(same(out, got).all())
            fits &= exact or (not rounded and _near(out, got))
            if not fits:
                break
        if fits and changed:
            causes.append(Cause((reading,), f"the input is {words}", total, total, exact))
    if not causes and through is None:
        causes += _line(pairs, total)
    causes.sort(key=lambda cause: not cause.exact)
    return Diagnosis(name, tuple(causes[:SHOWN]), unchanged, total, tried, "" if causes else cut)


def _through(through: Callable[[np.ndarray, int], np.ndarray] | None, x: np.ndarray, k: int) -> np.ndarray:
    return x if through is None else through(x, k)


def _near(made: np.ndarray, got: np.ndarray) -> bool:
    """Whether two tensors agree up to rounding."""
    finite = np.isfinite(made)
    if made.shape != got.shape or not (finite == np.isfinite(got)).all() or not finite.any():
        return False
    a, b = made[finite].astype(np.float64), got[finite].astype(np.float64)
    return bool((np.abs(a - b) <= NEAR * np.abs(a).max()).all())


def _line(pairs: Sequence[tuple[np.ndarray, np.ndarray]], total: int) -> list[Cause]:
    """A scale and an offset that nobody has on a list, the same for all."""
    x = np.concatenate([x.ravel() for x, _ in pairs]).astype(np.float64)
    got = np.concatenate([got.ravel() for _, got in pairs]).astype(np.float64)
    if not np.isfinite(got).all() or x.std() == 0 or got.std() == 0 or len(x) < 4:
        return []
    slope = ((x - x.mean()) * (got - got.mean())).mean() / x.var()
    offset = got.mean() - slope * x.mean()
    if not _near((slope * x + offset), got):
        return []
    if abs(slope - 1) <= NEAR and abs(offset) <= NEAR:
        return []  # other roundings of the same numbers
    words = f"the input is multiplied by {slope:.6g}" + (f", plus {offset:.6g}" if abs(offset) > NEAR else "")
    return [Cause(("input_scaled",), words, total, total, False)]


def inputs_of_other_cases(bundle: Bundle, case: str) -> list[tuple[str, np.ndarray]]:
    """The inputs of the other network cases that have the shape of this one's."""
    shape = bundle.tensors[f"{case}/in"]["shape"]
    return [(key, bundle.tensor(key, "in")) for key, other in bundle.cases.items()
            if other["scope"] == "network" and key != case and bundle.tensors[f"{key}/in"]["shape"] == shape]
