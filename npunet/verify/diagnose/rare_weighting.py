"""Rare hypotheses about weights and biases: every layout, places in memory, narrow formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, permutations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, rare
from npunet.verify.diagnose.storage import ROUNDINGS
from npunet.verify.diagnose.sums import cut_to_bfloat16, to_bfloat16, to_float16
from npunet.verify.diagnose.weighting import printed, quantised

MOVES = (1, 2, 3, 4, 8, 16)
POINTS = range(3, 17)
LIMITS = (1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1)
SHARES = (10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90)
FACTORS = (0.5, 3, 4, 6, 8, 10, 16, 100, 128, 256, 1000, 0.1, 0.01, 0.001, 1 / 128, 1 / 256)  # what a scale is off by
RANGES = (1.0, 2.0, 4.0, 6.0, 8.0, 16.0)  # that activations are quantised over
MOST_PAIRS = 16  # channels up to which every two are exchanged
Named = Iterator[tuple[str, np.ndarray]]


def _each(r: Recipe, number: int, words: str, kernel: np.ndarray) -> tuple[str, Recipe]:
    """The recipe with one of its kernels changed."""
    which = "" if r.op != "separable_conv2d" else ("depthwise ", "1x1 ")[number]
    kernels = list(r.kernels)
    kernels[number] = np.ascontiguousarray(kernel.reshape(r.kernels[number].shape), np.float32)
    return f"{which}{words}", r.but(kernels=tuple(kernels))


@rare(*CONVOLUTIONS)
def weights_bytes(r: Recipe) -> Variants:
    """Weights of another byte order: big-endian, or with the halves of every word exchanged."""
    for words, swapped in (("their bytes in the other order (big-endian)", lambda w: w.byteswap()),
                           ("the 16-bit halves of every number exchanged", lambda w: np.ascontiguousarray(w).view(
                               np.uint16).reshape(*w.shape, 2)[..., ::-1].copy().view(np.float32).reshape(w.shape))):
        for number, w in enumerate(r.kernels):
            yield _each(r, number, f"weights with {words}", swapped(w))
        if len(r.kernels) > 1:
            yield f"all weights with {words}", r.but(kernels=tuple(map(swapped, r.kernels)))
        if r.bias is not None:
            yield f"bias with {words}", r.but(bias=swapped(r.bias))
            yield (f"weights and bias with {words}",
                   r.but(kernels=tuple(map(swapped, r.kernels)), bias=swapped(r.bias)))


@rare(*CONVOLUTIONS)
def weights_layout(r: Recipe) -> Variants:
    for number, w in enumerate(r.kernels):
        for axes in list(permutations(range(4)))[1:]:
            name = "".join("HWIO"[axis] for axis in axes)
            stored = w.transpose(axes)
            read = w.reshape([w.shape[axis] for axis in axes]).transpose(np.argsort(axes))
            yield _each(r, number, f"weights stored as HWIO read as {name}", read)
            yield _each(r, number, f"weights stored as {name} read as HWIO", stored)
        yield _each(r, number, "weights in reverse order in memory", w.ravel()[::-1])
        if w.shape[0] == w.shape[1] > 1:
            yield _each(r, number, "kernel turned by 90 degrees", np.rot90(w))
            yield _each(r, number, "kernel turned by 270 degrees", np.rot90(w, 3))


@rare(*CONVOLUTIONS)
def kernel_extents_exchanged(r: Recipe) -> Variants:
    """Height and width of the kernel exchanged, its weights as raw memory."""
    w, (dy, dx) = r.kernels[0], r.attrs["dilation"]
    KH, KW = w.shape[:2]
    if KH != KW and min(r.inputs[0].shape[1:3]) > 1:
        turned = np.ascontiguousarray(w.reshape(KW, KH, *w.shape[2:]))
        (top, _), (left, _) = r.attrs["pads"]
        for words, before in (("the padding as declared", (top, left)), ("the padding too", (left, top)),
                              ("padded for that", ((KW - 1) * dy // 2, (KH - 1) * dx // 2))):
            changed = r.but(kernels=(turned, *r.kernels[1:])).having(pads=((before[0], 0), (before[1], 0)))
            yield f"height and width of the kernel exchanged ({KW} x {KH}), {words}", changed


@rare(*CONVOLUTIONS)
def weights_moved(r: Recipe) -> Variants:
    for number, w in enumerate(r.kernels):
        flat = w.ravel()
        for by in MOVES:
            if by < flat.size:
                for sign, words in ((-by, f"read {by} elements too late"), (by, f"read {by} elements too early")):
                    moved = np.roll(flat, sign)
                    yield _each(r, number, f"weights {words}, around the end", moved)
                    cleared = moved.copy()
                    cleared[slice(None, sign) if sign > 0 else slice(sign, None)] = 0
                    yield _each(r, number, f"weights {words}, zero at the end", cleared)
                    if r.bias is not None and number == len(r.kernels) - 1 and 0 < -sign <= r.bias.size:
                        followed = moved.copy()
                        followed[sign:] = r.bias[:-sign]
                        yield _each(r, number, f"weights {words}, the bias behind them", followed)
        for axis, name in enumerate(("rows", "columns", "input channels", "filters")):
            extent = w.shape[axis]
            for by in range(1, min(extent, 9)):
                yield _each(r, number, f"{name} of the weights moved by {by}", np.roll(w, by, axis))
            if extent > 1:
                yield _each(r, number, f"{name} of the weights in reverse order", np.flip(w, axis))
            if extent > 3 and extent % 2 == 0:
                yield _each(r, number, f"halves of the {name} of the weights exchanged", np.roll(w, extent // 2, axis))


@rare(*CONVOLUTIONS)
def weights_pitch(r: Recipe) -> Variants:
    """Weights read as if a tap, a channel or a filter were padded to a round number of elements."""
    for number, w in enumerate(r.kernels):
        n, (C, F) = np.arange(w.size), w.shape[2:]
        for name, unit, pitches in (("channel", F, [-(-F // by) * by for by in (2, 4, 8, 16)]),
                                    ("tap", C * F, [-(-C // by) * by * F for by in (2, 4, 8, 16)])):
            for pitch in dict.fromkeys(pitches):
                at = n // unit * pitch + n % unit
                held = np.where(at < w.size, w.ravel()[np.minimum(at, w.size - 1)], np.float32(0))
                if pitch != unit:
                    words = f"weights of a {name}, {unit} of them, read at a pitch of {pitch}, zero beyond their end"
                    yield _each(r, number, words, held)


@rare(*CONVOLUTIONS)
def weights_exchanged(r: Recipe) -> Variants:
    """Two input channels, or two filters, whose weights stand in each other's place; the bias stays."""
    for number, w in enumerate(r.kernels):
        for axis, name in ((2, "input channels"), (3, "filters")):
            if w.shape[axis] <= MOST_PAIRS:
                for a, b in combinations(range(w.shape[axis]), 2):
                    order = list(range(w.shape[axis]))
                    order[a], order[b] = b, a
                    yield _each(r, number, f"weights of {name} {a} and {b} exchanged", np.take(w, order, axis))


@rare(*CONVOLUTIONS)
def weights_format(r: Recipe) -> Variants:
    listed = list(formats())
    for number, w in enumerate(r.kernels):
        for words, function in listed:
            yield _each(r, number, f"weights {words}", function(w))
    if len(r.kernels) > 1:
        for words, function in listed:
            yield f"all weights {words}", r.but(kernels=tuple(function(w).astype(np.float32) for w in r.kernels))


def formats() -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """(words, function) of narrow formats of float32 arrays."""
    scales: tuple[tuple[tuple[int, ...] | None, str], ...] = (
        (None, "for all"), ((0, 1, 2), "for every filter"), ((0, 1, 3), "for every input channel"),
    )
    for bits in (4, 6, 8, 12, 16):
        for axes, per in scales:
            yield f"in {bits} bits, one scale {per}", partial(quantised, bits=bits, axes=axes)
            yield f"in {bits} bits, one scale {per} (a power of two)", partial(_shifted, bits=bits, axes=axes)
            yield f"in {bits} bits without sign, lowest to highest {per}", partial(_spread, bits=bits, axes=axes)
    for point in POINTS:
        for name in ROUNDINGS:
            yield f"with {point} fractional bits, {name}", partial(_pointed, point=point, rounding=name)
    for form in [f".{n}{kind}" for kind in "fg" for n in range(2, 9)]:
        yield f"printed with %{form}", partial(printed, form=form)
    for name, narrow in (("float16", to_float16), ("bfloat16", to_bfloat16), ("bfloat16, cut", cut_to_bfloat16)):
        yield f"in {name}", narrow
    for bits in range(1, 16):
        for how, cut in (("", False), (", cut", True)):
            yield f"with {bits} bits of mantissa{how}", partial(short_mantissa, bits=bits, cut=cut)
    for bits in (4, 8, 16):
        yield f"in {bits} bits from the lowest to the highest, without a zero", partial(_from_lowest, bits=bits)
    yield "without their sign", np.abs
    yield "with the other sign", np.negative
    for limit in LIMITS:
        yield f"below {limit:g} in magnitude taken for zero (pruned)", partial(_pruned, limit=limit)
    for share in SHARES:
        yield f"without the smallest {share} in 100 (pruned)", partial(_smallest, share=share)
    yield "twice as large", partial(np.multiply, np.float32(2))
    yield "half as large", partial(np.multiply, np.float32(0.5))
    yield "all zero", np.zeros_like


def _pruned(w: np.ndarray, limit: float) -> np.ndarray:
    return np.where(np.abs(w) < np.float32(limit), np.float32(0), w)


def _smallest(w: np.ndarray, share: int) -> np.ndarray:
    count = w.size * share // 100
    cut = w.ravel().copy()
    cut[np.argsort(np.abs(cut), kind="stable")[:count]] = 0
    return cut.reshape(w.shape)


def _pointed(w: np.ndarray, point: int, rounding: str) -> np.ndarray:
    return ROUNDINGS[rounding](w.astype(np.float64) * 2.0**point) / 2.0**point


def _shifted(w: np.ndarray, bits: int, axes: tuple[int, ...] | None) -> np.ndarray:
    """Integers with a power of two as scale, saturated."""
    most, top = np.abs(w).max(axes, keepdims=True), 2 ** (bits - 1)
    scale = 2.0 ** np.ceil(np.log2(np.maximum(most, 1e-30) / top))
    return np.clip(np.rint(w / scale), -top, top - 1) * scale


def _spread(w: np.ndarray, bits: int, axes: tuple[int, ...] | None) -> np.ndarray:
    """Integers between the lowest and the highest weight, with a zero point."""
    low, high = np.minimum(w.min(axes, keepdims=True), 0), np.maximum(w.max(axes, keepdims=True), 0)
    scale = np.maximum(high - low, 1e-30) / (2**bits - 1)
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(w / scale) + zero, 0, 2**bits - 1) - zero) * scale


def _from_lowest(w: np.ndarray, bits: int) -> np.ndarray:
    low = w.min().astype(np.float64)
    scale = max(float(w.max() - low), 1e-30) / (2**bits - 1)
    return np.rint((w - low) / scale) * scale + low


def short_mantissa(w: np.ndarray, bits: int, cut: bool) -> np.ndarray:
    """Floats with so many bits behind their leading one, rounded to even or cut."""
    words = np.ascontiguousarray(w, np.float32).view(np.uint32).astype(np.uint64)
    dropped = np.uint64(23 - bits)
    half = (np.uint64(1) << (dropped - np.uint64(1))) - np.uint64(1) + (words >> dropped & np.uint64(1))
    kept = (words + (np.uint64(0) if cut else half)) >> dropped << dropped
    return np.where(np.isfinite(w), kept.astype(np.uint32).view(np.float32), w)


@rare(*CONVOLUTIONS)
def inputs_format(r: Recipe) -> Variants:
    x = r.inputs[0]
    for words, function in formats():
        if not any(other in words for other in ("printed", "without their", "input channel", "filter", "pruned")):
            yield f"inputs {words}", r.but(inputs=(function(x).astype(np.float32),))
    for top in RANGES:
        for levels in (15, 127, 128, 255, 256):
            step = top / levels
            low = -top if (x < 0).any() else 0.0
            held = np.rint(x.astype(np.float64) / step) * step
            yield f"inputs in steps of {top:g} / {levels}", r.but(inputs=(held.astype(np.float32),))
            limited = np.clip(held, low, top).astype(np.float32)
            yield f"inputs in steps of {top:g} / {levels}, limited to {low:g} ... {top:g}", r.but(inputs=(limited,))
    for point in POINTS:
        both = [np.rint(value.astype(np.float64) * 2.0**point) / 2.0**point for value in (x, *r.kernels)]
        x16, *kernels = (value.astype(np.float32) for value in both)
        yield f"inputs and weights with {point} fractional bits", r.but(inputs=(x16,), kernels=tuple(kernels))
    pointed = {point: (_pointed(x, point, "rounded").astype(np.float32),
                       tuple(_pointed(w, point, "rounded").astype(np.float32) for w in r.kernels)) for point in POINTS}
    for point, other in permutations(POINTS, 2):
        yield (f"inputs with {point} fractional bits, weights with {other}",
               r.but(inputs=(pointed[point][0],), kernels=pointed[other][1]))
    for bits in range(1, 16):
        short = partial(short_mantissa, bits=bits, cut=False)
        yield (f"inputs and weights with {bits} bits of mantissa",
               r.but(inputs=(short(x),), kernels=tuple(map(short, r.kernels))))
    for bits in (8, 16):
        kernels = [quantised(w, bits, None) for w in r.kernels]
        each = [quantised(w, bits, (0, 1, 2)) for w in r.kernels]
        for words, y in (("symmetric", quantised(x, bits, None)), ("lowest to highest", _spread(x, bits, None))):
            inputs = (y.astype(np.float32),)
            yield f"inputs ({words}) and weights in {bits} bits", r.but(inputs=inputs, kernels=tuple(kernels))
            yield (f"inputs ({words}) and weights in {bits} bits, a scale for every filter",
                   r.but(inputs=inputs, kernels=tuple(each)))


@rare(*CONVOLUTIONS)
def bias_other(r: Recipe) -> Variants:
    if r.bias is None:
        return
    bias = r.bias
    for words, other in _biases(bias):
        yield f"bias {words}", r.but(bias=np.asarray(other, np.float32))
    for words, (_, theirs) in r.kin.items():
        if theirs is not None:
            yield f"the bias of {words.split(' of ')[-1].removesuffix(' taken')} taken", r.but(bias=theirs)
    places = np.arange(int(np.prod(r.shape[:2]))) % bias.size
    everywhere = np.broadcast_to(bias[places].reshape(*r.shape[:2], 1), r.shape)
    yield "bias by position instead of channel", r.but(bias=None, compute=lambda c: _unbiased(c, everywhere))


def _unbiased(c: Recipe, bias: np.ndarray) -> np.ndarray:
    return recipes.run(c.but(compute=None, after=())) + bias


def _biases(bias: np.ndarray) -> Named:
    for by in range(1, min(bias.size, 9)):
        yield f"moved by {by} channels", np.roll(bias, by)
        yield f"moved by {by} channels, zero at the end", np.concatenate([bias[by:], np.zeros(by, np.float32)])
    yield "in reverse order", bias[::-1]
    yield "half as large", bias / 2
    for factor in FACTORS:
        yield f"times {factor:g}", bias * np.float32(factor)
    for bits in (8, 16):
        yield f"in {bits} bits", quantised(bias.reshape(1, 1, 1, -1), bits, None).ravel()
    for point in POINTS:
        yield f"with {point} fractional bits", np.rint(bias * 2.0**point) / 2.0**point
        yield f"with {point} fractional bits, cut", np.trunc(bias * 2.0**point) / 2.0**point
    for form in [f".{n}f" for n in range(1, 8)]:
        yield f"printed with %{form}", printed(bias, form)
    yield "without its sign", np.abs(bias)
    yield "as an integer", np.trunc(bias)
    for c in range(bias.size):
        cut = bias.copy()
        cut[c] = 0
        yield f"left out in channel {c}", cut
    for first in range(1, bias.size):
        cut = bias.copy()
        cut[first:] = 0
        yield f"left out from channel {first} on", cut
        cut = bias.copy()
        cut[:first] = 0
        yield f"left out up to channel {first - 1}", cut
