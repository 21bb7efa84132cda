"""Sums of products in any order and precision, so that a port's own can be recognised bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from npunet.ops.accumulate import fma32
from npunet.verify.diagnose.fixed_sums import Fixed
from npunet.verify.diagnose.roundings import DIRECTED, ONCE_MORE, added

SMALLEST_NORMAL = np.float32(2.0**-126)


@dataclass(frozen=True)
class Order:
    """How a sum is taken.

    fused    : multiply and add with one rounding
    walk     : "taps" (ky, kx, c), "columns" (kx, ky, c), "channels" (c, ky, kx), "back" (taps from the last), or any
               other: "axes 2+ 0- 1+" (c, ky from the last, kx)
    grouping : "" one running total; "tap" a total a tap; "row" one a row of the kernel; "lanes4", "lanes8" running
               totals side by side, added at the end; "turns4" the same, but every fourth product whatever its channel;
               "pairs" halves of halves
    wide     : sums in float64, rounded once
    rounding : "" or "float16", "bfloat16", "bfloat16 cut" after every step; "float16 products"; how every step is
               rounded: one of roundings.DIRECTED, or of roundings.ONCE_MORE (product and sum there, then to float32)
    bias_too : the addition of the bias is rounded so too
    by_tap   : rounding happens after every tap instead
    flush    : subnormal operands and results are zero
    fixed    : an accumulator in fixed point instead
    limit    : magnitude at which a running total saturates
    """

    fused: bool
    walk: str = "taps"
    grouping: str = ""
    wide: bool = False
    rounding: str = ""
    bias_too: bool = False
    by_tap: bool = False
    flush: bool = False
    fixed: Fixed | None = None
    limit: float = inf

    @property
    def changes_sums(self) -> bool:
        """Whether sums are others than any order of rounding makes them, so that only bits tell."""
        return self.fixed is not None or self.limit < inf


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the 8 bits of bfloat16, ties to even."""
    return _kept_bits(x, 16)


def to_tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the 11 bits of TF32, ties to even."""
    return _kept_bits(x, 13)


def cut_to_bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 with its lower 16 bits dropped."""
    return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def to_float16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to float16 and back."""
    with np.errstate(all="ignore"):
        return x.astype(np.float16).astype(np.float32)


def _kept_bits(x: np.ndarray, dropped: int) -> np.ndarray:
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    odd = (bits >> np.uint64(dropped)) & np.uint64(1)
    rounded = (bits + np.uint64((1 << (dropped - 1)) - 1) + odd) >> np.uint64(dropped) << np.uint64(dropped)
    return np.where(np.isnan(x), x, rounded.astype(np.uint32).view(np.float32))


def flushed(x: np.ndarray) -> np.ndarray:
    """Subnormals as zeros of their sign."""
    return np.where(np.abs(x) < SMALLEST_NORMAL, np.copysign(np.float32(0), x), x)


def fold(
    x: np.ndarray, w: np.ndarray, order: Order, shape: tuple[int, int, int], first: np.ndarray | None
) -> np.ndarray:
    """sum over k of x[:, k] w[k, :]; x : (P, K), w : (K, F), shape : (KH, KW, C), first : (F,) or None."""
    pick = walk(order.walk, shape)
    terms = [(x[:, k, None], w[None, k]) for k in pick]
    start = (
        np.zeros((len(x), w.shape[1]), np.float32) if first is None else np.broadcast_to(first, (len(x), len(first)))
    )
    part = shape[2] * (shape[1] if order.grouping == "row" else 1)
    return total(terms, start, order, [k // part for k in pick], [k % shape[2] for k in pick])


def fold_depthwise(
    x: np.ndarray, w: np.ndarray, order: Order, shape: tuple[int, int, int], first: np.ndarray | None
) -> np.ndarray:
    """sum over t of x[:, t, c] w[t, c, m]; x : (P, T, C), w : (T, C, M); returns (P, C * M)."""
    pick = walk(order.walk, (*shape[:2], 1))
    terms = [(x[:, t, :, None], w[None, t]) for t in pick]
    start = (
        np.zeros((len(x), *w.shape[1:]), np.float32)
        if first is None
        else np.broadcast_to(first.reshape(w.shape[1:]), (len(x), *w.shape[1:]))
    )
    taps = [t // shape[1] for t in pick] if order.grouping == "row" else pick
    return total(terms, start, order, taps, pick).reshape(len(x), -1)


def walk(name: str, shape: tuple[int, int, int]) -> list[int]:
    """Numbers of the terms, counted as (ky, kx, c), in the order of a walk."""
    numbers = np.arange(shape[0] * shape[1] * shape[2]).reshape(shape)
    if name.startswith("axes"):  # "axes 0- 1+ 2+": each axis with its direction, the outermost first
        order = [(int(step[0]), step[1] == "-") for step in name.split()[1:]]
        turned = numbers[tuple(slice(None, None, -1 if dict(order)[axis] else 1) for axis in range(3))]
        return turned.transpose([axis for axis, _ in order]).ravel().tolist()
    axes = {"taps": (0, 1, 2), "back": (0, 1, 2), "columns": (1, 0, 2), "channels": (2, 0, 1)}[name]
    listed = numbers.transpose(axes).ravel().tolist()
    return listed[::-1] if name == "back" else listed


def total(
    terms: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, order: Order, taps: list[int], lanes: list[int]
) -> np.ndarray:
    """The sum of products in an order; taps, lanes : for every term its tap, and what its lane is told by."""
    zero = np.zeros(start.shape, np.float32)
    if order.fixed is not None:
        return order.fixed.total(terms, start, taps, order.fused)
    if order.wide:
        acc = start.astype(np.float64)
        for x, w in terms:
            acc = acc + x.astype(np.float64) * w
        return acc.astype(np.float32)
    if order.grouping in ("tap", "row"):
        acc, part = start, zero
        for k, (x, w) in enumerate(terms):
            part = _step(part, x, w, order)
            if k + 1 == len(terms) or taps[k + 1] != taps[k]:
                acc, part = acc + part, zero
        return acc
    if order.grouping.startswith(("lanes", "turns")):
        count = int(order.grouping[5:])
        lanes = lanes if order.grouping.startswith("lanes") else list(range(len(terms)))
        parts = [start, *[zero] * (count - 1)]
        for k, (x, w) in enumerate(terms):
            parts[lanes[k] % count] = _step(parts[lanes[k] % count], x, w, order)
        while len(parts) > 1:
            parts = [parts[k] + parts[k + 1] for k in range(0, len(parts), 2)]
        return parts[0]
    if order.grouping == "pairs":
        return start + _halves([x * w for x, w in terms])
    acc = np.ascontiguousarray(start, np.float32)
    plain = replace(order, rounding="", limit=inf)
    for k, (x, w) in enumerate(terms):
        within = order.by_tap and k + 1 < len(terms) and taps[k + 1] == taps[k]
        acc = _step(acc, x, w, plain if within else order)
    return acc


ROUNDED = {"float16": to_float16, "bfloat16": to_bfloat16, "bfloat16 cut": cut_to_bfloat16}


def _halves(parts: list[np.ndarray]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return _halves(parts[:middle]) + _halves(parts[middle:])


def _step(acc: np.ndarray, x: np.ndarray, w: np.ndarray, order: Order) -> np.ndarray:
    if order.flush:
        x, w = flushed(x), flushed(w)
    if order.rounding in DIRECTED + ONCE_MORE:
        product = x.astype(np.float64) * w
        if order.rounding in DIRECTED and not order.fused:
            product = added(product, np.zeros_like(product), order.rounding).astype(np.float64)
        return added(product, acc.astype(np.float64), order.rounding)
    if order.rounding.endswith(" products"):
        return acc + ROUNDED[order.rounding.removesuffix(" products")](x * w)
    acc = fma32(x, w, acc) if order.fused else acc + (flushed(x * w) if order.flush else x * w)
    if order.rounding in ROUNDED:
        return ROUNDED[order.rounding](acc)
    if order.limit < inf:
        return np.clip(acc, np.float32(-order.limit), np.float32(order.limit))
    return flushed(acc) if order.flush else acc
