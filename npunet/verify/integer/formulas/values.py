"""What a text calls: functions of whole arrays, right ones and those that a port may have in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from npunet.integer.fixed_point import requantize, requantize_64
from npunet.verify.integer.hypotheses import rounding

RULES = {  # by the name under which a text calls them: what they do, in words
    "requantize_D": "by profile D", "requantize_S": "by profile S", "requantize_16": "by the upper 16 bits of m",
    "ties_upward": "with ties upward", "truncated": "floored", "towards_zero": "cut towards zero",
    "half_even": "with ties to even", "half_away": "with ties away from zero",
    "second_shift_floors": "with a right shift that floors", "product_floors": "with a product that floors",
    "shift_before_product": "with the shift before the product", "in_float32": "in float32",
    "shift_floors_before_product": "with the shift, which floors, before the product",
    "upward": "with every remainder upward", "left_after_product": "with the left shift after the product",
    "rounded_twice_up": "with both roundings half upward",
}
SHIFTS = {"floor_shift": "floored", "half_up_shift": "with ties upward", "half_even_shift": "with ties to even",
          "zero_shift": "cut towards zero", "ceiling_shift": "with every remainder upward",
          "half_down_shift": "with ties downward"}


def upward(x: Any, m: Any, s: Any) -> np.ndarray:
    """The real product, rounded up."""
    x, m, s = (np.asarray(value, np.int64) for value in (x, m, s))
    return -((-x * m) >> (31 - s))


def left_after_product(x: Any, m: Any, s: Any) -> np.ndarray:
    """As profile D, but a left shift follows the product."""
    x, m, s = (np.asarray(value, np.int64) for value in (x, m, s))
    return requantize(x, m, np.minimum(s, 0), "D") << np.maximum(s, 0)


def rounded_twice_up(x: Any, m: Any, s: Any) -> np.ndarray:
    """Both roundings add a half and floor."""
    x, m, s = (np.asarray(value, np.int64) for value in (x, m, s))
    right = np.maximum(-s, 0)
    high = ((x << np.maximum(s, 0)) * m + 2**30) >> 31
    return (high + ((np.int64(1) << right) >> 1)) >> right


def wrap(x: Any, bits: int) -> np.ndarray:
    """The lower bits as two's complement."""
    half = np.int64(1) << (bits - 1)
    return ((np.asarray(x, np.int64) + half) & (2 * half - 1)) - half


def saturate(x: Any, bits: int) -> np.ndarray:
    """Cut to the range of so many bits."""
    return np.clip(np.asarray(x, np.int64), -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def unsigned(x: Any, bits: int) -> np.ndarray:
    """The lower bits without a sign."""
    return np.asarray(x, np.int64) & ((1 << bits) - 1)


def as_float32(x: Any) -> np.ndarray:
    """With the 24 bits of a float32."""
    return np.asarray(x, np.int64).astype(np.float32).astype(np.int64)


def quotient(a: Any, b: Any) -> np.ndarray:
    """A division as C has it, towards zero."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    safe = np.where(b == 0, 1, b)
    return np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe))


def each(*numbers: Any) -> np.ndarray:
    """range(*numbers), or a list, as a new first axis: (n, 1)."""
    listed = numbers[0] if len(numbers) == 1 and isinstance(numbers[0], list) else range(*map(int, numbers))
    return np.array(list(listed), np.int64).reshape(-1, 1)


def total(x: Any) -> np.ndarray:
    """The sum over the axis of each."""
    return np.asarray(x, np.int64).sum(0)


def largest(x: np.ndarray) -> np.ndarray:
    """The maximum over the axis of each."""
    return x.max(0)


def smallest(x: np.ndarray) -> np.ndarray:
    """The minimum over the axis of each."""
    return x.min(0)


def once_more(numbers: Sequence[int], again: Sequence[int]) -> list[int]:
    """A loop that has some rounds twice."""
    return [*numbers, *again]


def without(numbers: Sequence[int], one: int) -> list[int]:
    """A loop without one of its rounds."""
    return [number for number in numbers if number != one]


def swapped(x: Any, count: int) -> np.ndarray:
    """The bytes of a word in the other order."""
    return np.asarray(x, np.int64).astype(f"<i{count}").byteswap().astype(np.int64)


def _shift(x: Any, exponent: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, n = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    return x, n, (np.int64(1) << n) >> 1


def floor_shift(x: Any, exponent: Any) -> np.ndarray:
    """x / 2^exponent, floored."""
    return np.asarray(x, np.int64) >> exponent


def half_up_shift(x: Any, exponent: Any) -> np.ndarray:
    """Ties upward."""
    x, n, half = _shift(x, exponent)
    return (x + half) >> n


def half_down_shift(x: Any, exponent: Any) -> np.ndarray:
    """Ties downward."""
    x, n, half = _shift(x, exponent)
    return (x + np.maximum(half - 1, 0)) >> n


def half_even_shift(x: Any, exponent: Any) -> np.ndarray:
    """Ties to even."""
    x, n, half = _shift(x, exponent)
    return (x + np.maximum(half - 1, 0) + np.where(half > 0, (x >> n) & 1, 0)) >> n


def zero_shift(x: Any, exponent: Any) -> np.ndarray:
    """Towards zero."""
    x, n, _ = _shift(x, exponent)
    return np.sign(x) * (np.abs(x) >> n)


def ceiling_shift(x: Any, exponent: Any) -> np.ndarray:
    """Upward."""
    x, n, _ = _shift(x, exponent)
    return -(-x >> n)


FUNCTIONS: dict[str, Any] = {
    "requantize_D": lambda x, m, s: requantize(x, m, s, "D"), "requantize_S": lambda x, m, s: requantize(x, m, s, "S"),
    "requantize_16": requantize_64,
    **{name: getattr(rounding, name) for name in ("ties_upward", "truncated", "towards_zero", "half_even", "half_away",
                                                  "second_shift_floors", "product_floors", "shift_before_product",
                                                  "in_float32", "shift_floors_before_product")},
    **{each_.__name__: each_ for each_ in (upward, left_after_product, rounded_twice_up, wrap, saturate, unsigned,
                                           as_float32, quotient, each, total, largest, smallest, once_more, without,
                                           swapped, floor_shift, half_up_shift, half_down_shift,
                                           half_even_shift, zero_shift, ceiling_shift)},
    "where": np.where, "maximum": np.maximum, "minimum": np.minimum, "abs": np.abs, "sign": np.sign,
}
