"""Elementwise functions of integers by a table, and the table's interpolation for 16 bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from npunet.integer.fixed_point import requantize

STEPS = 512  # of a table for 16 bits, whose ends both belong to it


def table(x: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    """y = table[x + 128] for 8 bits; for 16 bits a straight line between the entries around x.

    i = 256 + (x >> 7);  y = table[i] + (((table[i + 1] - table[i]) * (x & 127) + 64) >> 7)

    x : any shape, int64;  table : (256,) int8 or (513,) int16

    Returns y : int64. Source for 16 bits: TensorFlow Lite, `LUTLookup`.
    """
    values = table.astype(np.int64)
    if table.dtype == np.int8:
        return values[x + 128]
    index = 256 + (x >> 7)
    return values[index] + (((values[index + 1] - values[index]) * (x & 127) + 64) >> 7)


def table_of(function: Callable[[float], float], input_scale: float, input_zero_point: int, output_scale: float,
             output_zero_point: int, dtype: str) -> np.ndarray:
    """The table of a real function between two quantised tensors.

    int8  : round_half_away(f(s_in * (q - z_in)) / s_out) + z_out in float64, clamped, for q = -128 ... 127
    int16 : table_16 over the input's range up to 32768, so that entry i stands at -32768 + 128 * i exactly
    """
    if dtype == "int16":
        return table_16(function, input_scale * -32768, input_scale * 32768, 1 / output_scale)
    entries = [round_half_away(function(input_scale * (q - input_zero_point)) / output_scale) + output_zero_point
               for q in range(-128, 128)]
    return np.clip(entries, -128, 127).astype(np.int8)


def table_16(function: Callable[[float], float], low: float, high: float, factor: float,
             real: Callable[[float], float] = float) -> np.ndarray:
    """513 int16 entries of factor * function over [low, high].

    Each is moved by half of what the straight line to its neighbour is off in the middle.
    real : rounds every intermediate result; float for float64, np.float32 for TFLite-Micro's tables

    Source: TensorFlow Lite, `LUTPopulateInt16`.
    """
    low, high, factor = real(low), real(high), real(factor)
    step = real(real(high - low) / real(STEPS))
    half = real(step / real(2))

    def at(x: float) -> float:
        return real(real(function(x)) * factor)

    entries = []
    for i in range(STEPS):
        here = real(low + real(real(i) * step))
        sample = round_half_away(at(here))
        following = at(real(low + real(real(i + 1) * step)))
        line = round_half_away(real(real(following + real(sample)) / real(2)))
        middle = round_half_away(at(real(here + half)))
        entries.append(sample - round_half_away((line - middle) / 2))
    entries.append(round_half_away(at(high)))
    return np.clip(entries, -32768, 32767).astype(np.int16)


def leaky_relu(x: np.ndarray, *, input_offset: int, output_offset: int, positive_multiplier: int, positive_shift: int,
               negative_multiplier: int, negative_shift: int, act_min: int, act_max: int,
               rounding: str) -> np.ndarray:
    """Shrink what lies below zero: one factor for x >= 0, another below.

    y = clamp(requantize(x + input_offset, m, s) + output_offset),  (m, s) of s_in / s_out or of slope * s_in / s_out

    x : any shape, int64

    Returns y : int64. Source: TensorFlow Lite, `QuantizeLeakyRelu`.
    """
    centred = x + input_offset
    positive = requantize(centred, positive_multiplier, positive_shift, rounding)
    negative = requantize(centred, negative_multiplier, negative_shift, rounding)
    return np.clip(np.where(centred >= 0, positive, negative) + output_offset, act_min, act_max)


def round_half_away(value: float) -> int:
    """The nearest integer, ties away from zero."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
