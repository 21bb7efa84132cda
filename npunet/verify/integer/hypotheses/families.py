"""Requantisations put together from their steps, and accumulators that are cut at every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from npunet.integer.ops.conv import unclamped
from npunet.ops.windows import windows
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, REQUANTISED, Variant, hypothesis
from npunet.verify.integer.hypotheses.rounding import through

CUTS = {  # what is left of a multiplier of 31 bits, and its bits
    "its multiplier": (0, 0), "the upper 16 bits of its multiplier": (16, 0),
    "its multiplier rounded to 16 bits": (16, 1 << 15), "the upper 8 bits of its multiplier": (24, 0),
    "its multiplier rounded to 8 bits": (24, 1 << 23), "its multiplier rounded to 24 bits": (8, 1 << 7),
    "the upper 24 bits of its multiplier": (8, 0)}
ROUNDINGS = ("rounds half up", "floors", "cuts towards zero", "rounds half to even", "rounds half away from zero",
             "rounds half down", "rounds up")
MOST_STEPS = 400  # of an accumulator that is followed step by step
MOST_VALUES = 2**25


def divided(x: np.ndarray, bits: Any, how: str) -> np.ndarray:
    """x / 2^bits, rounded in one of ROUNDINGS."""
    bits = np.asarray(bits, np.int64)
    half = (np.int64(1) << bits) >> 1
    if how == "floors":
        return x >> bits
    if how == "rounds up":
        return -(-x >> bits)
    if how == "rounds half up":
        return (x + half) >> bits
    if how == "rounds half down":
        return -((-x + half) >> bits)
    if how == "cuts towards zero":
        return np.sign(x) * (np.abs(x) >> bits)
    if how == "rounds half away from zero":
        return np.sign(x) * ((np.abs(x) + half) >> bits)
    return (x + np.maximum(half - 1, 0) + np.where(half > 0, (x >> bits) & 1, 0)) >> bits


@hypothesis("steps of the requantisation", *REQUANTISED, rare=True)
def steps(e: Evidence) -> Iterator[Variant]:
    """Bits of the multiplier, rounding of the product, rounding of the shift: each in every way."""
    for words, (cut, half) in CUTS.items():
        for product in ROUNDINGS[:4]:
            for shift in ROUNDINGS:
                def rule(x: np.ndarray, m: Any, s: Any, cut: int = cut, half: int = half, product: str = product,
                         shift: str = shift) -> np.ndarray:
                    m, s = (np.asarray(m, np.int64) + half) >> cut, np.asarray(s, np.int64)
                    high = divided((x << np.maximum(s, 0)) * m, 31 - cut, product)
                    return divided(high, np.maximum(-s, 0), shift)

                yield f"takes {words}, {product} the product and {shift} the right shift", through(e, rule)
        for shift in ROUNDINGS:
            def at_once(x: np.ndarray, m: Any, s: Any, cut: int = cut, half: int = half,
                        shift: str = shift) -> np.ndarray:
                m, s = (np.asarray(m, np.int64) + half) >> cut, np.asarray(s, np.int64)
                return divided(x * m, 31 - cut - s, shift)

            yield f"takes {words} and {shift} once", through(e, at_once)


@hypothesis("accumulator cut at every step", *CONVOLUTIONS, rare=True)
def step_by_step(e: Evidence) -> Iterator[Variant]:
    """16 bits or so that saturate after each product, or tap; which is another thing than at the end."""
    a, w = e.node.attrs, e.node.arrays["weights"].astype(np.int64)
    KH, KW, C, _ = w.shape
    depthwise = e.node.op == "depthwise_conv2d"
    count = KH * KW * (1 if depthwise else C)
    if count > MOST_STEPS or count * e.right.size > MOST_VALUES:
        return
    x = windows(e.inputs[0].astype(np.int64) + a["input_offset"], (KH, KW), a["stride"], a["pads"], a["dilation"])
    bias = e.node.arrays["bias"].astype(np.int64)
    for bits in (16, 15, 17, 18, 20, 24, 32):
        half = 1 << (bits - 1)
        if np.abs(e.accumulator).max() + e.reach < half:
            break
        for each, start in (("product", bias), ("tap", bias), ("product", 0 * bias)):
            acc = np.broadcast_to(start, e.right.shape)
            for ky, kx in x:
                tap = x[ky, kx]
                if depthwise:
                    parts = [(tap[..., None] * w[ky, kx]).reshape(e.right.shape)]
                else:
                    parts = [tap[..., c, None] * w[ky, kx, c] for c in range(C)]
                for part in parts if each == "product" else [np.sum(parts, 0)]:
                    acc = np.clip(acc + part, -half, half - 1)
            if start is not bias:
                acc = acc + bias
            late = "" if start is bias else ", and adds its bias afterwards"
            yield f"saturates its accumulator at {bits} bits after every {each}{late}", _finished(e, acc)


def _finished(e: Evidence, acc: np.ndarray) -> np.ndarray:
    arrays = e.node.arrays
    return e.clamp(unclamped(acc, arrays["bias"], arrays["multiplier"], arrays["shift"], e.node.attrs["output_offset"],
                             e.network.rounding))


@hypothesis("product of 16 bits", *CONVOLUTIONS, rare=True)
def narrow_products(e: Evidence) -> Iterator[Variant]:
    """Every product is cut before it is added."""
    a, w = e.node.attrs, e.node.arrays["weights"].astype(np.int64)
    KH, KW, C, _ = w.shape
    depthwise = e.node.op == "depthwise_conv2d"
    count = KH * KW * (1 if depthwise else C)
    if count > MOST_STEPS or count * e.right.size > MOST_VALUES:
        return
    x = windows(e.inputs[0].astype(np.int64) + a["input_offset"], (KH, KW), a["stride"], a["pads"], a["dilation"])
    cuts = {f"{how} in {bits} bits": (how, bits) for bits in (8, 12, 15, 16) for how in ("saturates", "wraps")}
    cuts |= {f"loses its lower {bits} bits": ("floors", bits) for bits in (1, 2, 4, 7, 8)}
    cuts |= {f"is cut towards zero to a multiple of {1 << bits}": ("cut", bits) for bits in (1, 2, 4, 7, 8)}
    for words, (how, bits) in cuts.items():
        acc = np.zeros(e.right.shape, np.int64) + e.node.arrays["bias"]
        for ky, kx in x:
            tap = x[ky, kx]
            for c in range(1 if depthwise else C):
                part = ((tap[..., None] * w[ky, kx]).reshape(e.right.shape) if depthwise
                        else tap[..., c, None] * w[ky, kx, c])
                acc = acc + _cut(part, how, bits)
        yield f"has products each of which {words}", _finished(e, acc)


def _cut(x: np.ndarray, how: str, bits: int) -> np.ndarray:
    """One product."""
    half = 1 << (bits - 1)
    if how == "saturates":
        return np.clip(x, -half, half - 1)
    if how == "floors":
        return x >> bits << bits
    if how == "cut":
        return np.sign(x) * (np.abs(x) >> bits << bits)
    return ((x + half) & (2 * half - 1)) - half
