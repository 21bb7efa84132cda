"""Requantisations by another rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npunet.integer.fixed_point import (
    ROUNDINGS,
    doubling_high_multiply,
    requantize,
    requantize_64,
    rounding_shift,
)
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import REQUANTISED, Variant, hypothesis

Rule = Callable[[np.ndarray, Any, Any], np.ndarray]


def through(e: Evidence, rule: Rule) -> np.ndarray:
    """The layer's output with every requantisation by a rule, which takes (x, multiplier, shift)."""
    a = e.node.attrs
    xs = [x.astype(np.int64) for x in e.inputs]
    if e.node.op in ("conv2d", "depthwise_conv2d"):
        scaled = rule(e.accumulator, e.node.arrays["multiplier"], e.node.arrays["shift"])
    elif e.node.op == "add":
        halves = [rule((x + a[f"input{n}_offset"]) << a["left_shift"], a[f"input{n}_multiplier"],
                       a[f"input{n}_shift"]) for n, x in enumerate(xs, 1)]
        scaled = rule(halves[0] + halves[1], a["output_multiplier"], a["output_shift"])
    elif e.node.op == "rescale":
        scaled = rule(xs[0] + a["input_offset"], a["multiplier"], a["shift"])
    else:
        centred = xs[0] + a["input_offset"]
        halves = [rule(centred, a[f"{sign}_multiplier"], a[f"{sign}_shift"]) for sign in ("positive", "negative")]
        scaled = np.where(centred >= 0, *halves)
    return e.clamp(scaled + a["output_offset"])


def ties_upward(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """Profile U: rounded twice, ties of the second upward."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    right = np.maximum(-s, 0)
    high = doubling_high_multiply(x << np.maximum(s, 0), m)
    return (high + ((np.int64(1) << right) >> 1)) >> right


def second_shift_floors(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The product is rounded, the right shift is not."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    return doubling_high_multiply(x << np.maximum(s, 0), m) >> np.maximum(-s, 0)


def product_floors(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The right shift rounds as in profile D, the product does not."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    right = np.maximum(-s, 0)
    high = ((x << np.maximum(s, 0)) * m) >> 31
    mask = (np.int64(1) << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def truncated(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """Nothing is rounded: floor."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    return (x * m) >> (31 - s)


def towards_zero(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """Nothing is rounded: towards zero."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    product = x * m
    return np.sign(product) * (np.abs(product) >> (31 - s))


def half_even(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """Profile E: the real product, ties to even."""
    m, s = np.asarray(m, np.float64), np.asarray(s, np.float64)
    return np.rint(x * (m * 2.0 ** (s - 31))).astype(np.int64)


def half_away(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """Rounded once, ties away from zero."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    product = x * m
    return np.sign(product) * ((np.abs(product) + (np.int64(1) << (30 - s))) >> (31 - s))


def product_of_32_bits(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The product keeps its lower 32 bits."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    product = (x << np.maximum(s, 0)) * m + 2**30
    return rounding_shift((((product + 2**31) & (2**32 - 1)) - 2**31) >> 31, np.maximum(-s, 0))


def shift_before_product(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The right shift, rounded, comes before the product."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    return doubling_high_multiply(rounding_shift(x << np.maximum(s, 0), np.maximum(-s, 0)), m)


def shift_floors_before_product(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The right shift, not rounded, comes before the product."""
    m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
    return doubling_high_multiply((x << np.maximum(s, 0)) >> np.maximum(-s, 0), m)


def in_float32(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The sum and the factor as float32, their product rounded to even."""
    factor = (np.asarray(m, np.float64) * 2.0 ** (np.asarray(s, np.float64) - 31)).astype(np.float32)
    return np.rint(x.astype(np.float32) * factor).astype(np.int64)


def in_float32_half_up(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
    """The same, rounded by adding a half and flooring."""
    factor = (np.asarray(m, np.float64) * 2.0 ** (np.asarray(s, np.float64) - 31)).astype(np.float32)
    return np.floor(x.astype(np.float32) * factor + np.float32(0.5)).astype(np.int64)


RULES: dict[str, Rule] = {
    "requantises by profile U (LiteRT's optimised kernels): ties of the right shift go upward": ties_upward,
    "requantises in float32, ties to even": in_float32,
    "requantises in float32, by adding a half and flooring": in_float32_half_up,
    "requantises by profile E (XNNPACK): the real product, ties to even": half_even,
    "truncates (floor) where it should round": truncated,
    "truncates towards zero where it should round": towards_zero,
    "rounds the product, but truncates the right shift that follows": second_shift_floors,
    "truncates the product's lower 31 bits, but rounds the right shift that follows": product_floors,
    "rounds once, ties away from zero": half_away,
    "keeps 32 bits of the product with its multiplier, which has 62": product_of_32_bits,
    "shifts right before it multiplies, not after": shift_before_product,
    "shifts right before it multiplies, not after, and does not round": shift_floors_before_product,
}


def of_profile(rounding: str) -> Rule:
    """The rule of a profile, D or S."""
    return lambda x, m, s: requantize(x, m, s, rounding)


def other_rules(rounding: str) -> dict[str, Rule]:
    """Every rule, in words, that is not the profile's own: of requantisations with 32-bit accumulators."""
    other = {"D": "S", "S": "D"}[rounding]
    words = {"D": "double rounding, TFLite's default", "S": "single rounding, CMSIS_NN_USE_SINGLE_ROUNDING"}[other]
    return {f"requantises by profile {other} ({words}), not {rounding}": of_profile(other), **RULES}


@hypothesis("rounding profile", *REQUANTISED, of_values=True)
def profile(e: Evidence) -> Iterator[Variant]:
    """D for S, S for D, U, E, truncation."""
    if e.wide:
        yield from _of_64_bits(e)
        return
    for words, of in other_rules(e.network.rounding).items():
        yield words, through(e, of)
    upper = of_profile(e.network.rounding)
    yield "takes the upper 16 bits of its multiplier, and 0 below", through(
        e, lambda x, m, s: upper(x, np.asarray(m, np.int64) >> 16 << 16, s))
    if e.node.op in ("conv2d", "depthwise_conv2d"):
        yield "cuts the multiplier to 16 bits, as for an accumulator of 64 bits", through(e, requantize_64)


def _of_64_bits(e: Evidence) -> Iterator[Variant]:
    """Of an accumulator of 64 bits, whose multiplier has 16."""
    def cut(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
        return requantize_64(x, np.asarray(m, np.int64) >> 16 << 16, s)

    def floors(x: np.ndarray, m: Any, s: Any) -> np.ndarray:
        m, s = np.asarray(m, np.int64), np.asarray(s, np.int64)
        return (x * np.where(m < 0x7FFF0000, (m + 2**15) >> 16, 0x7FFF)) >> (15 - s)

    m = e.node.arrays["multiplier"].astype(np.int64)
    if ((m & 0xFFFF) >= 2**15).any():
        yield "cuts the multiplier to its upper 16 bits without rounding it", through(e, cut)
    yield "truncates (floor) where it should round", through(e, floors)
    if np.abs(e.accumulator).max() < 2**31:
        for rounding in ROUNDINGS:
            yield (f"requantises with the whole 32-bit multiplier by profile {rounding}, where an accumulator of 64 "
                   "bits takes its upper 16"), through(e, of_profile(rounding))
        yield "requantises by profile E: the real product, ties to even", through(e, half_even)
