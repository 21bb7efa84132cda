"""Softmax of one position, by its definition in npunet.integer.ops with what depends on one value looked up.

For 8 bits exp(x - max) is a table of 256 entries, made by the definition itself; what follows needs a position's sum.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.vectors import read_short, read_word, write_short
from npunet.engine.integer.plan.opcodes import EXP_TABLE, FAR, RECIPROCAL_TABLE, Mode
from npunet.integer.fixed_point import INT32_MAX, INT32_MIN
from npunet.integer.ops.softmax import FORTY_EIGHT_17THS, SUM_BITS, THIRTY_TWO_17THS

SINGLE = int(Mode.S)
OUTPUT_BITS = 31 - 8


@intrinsic
def leading_zeros(typing, value):
    """Of the 64 bits of a positive integer."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(INT64, [INT64, ir.IntType(1)])
        named = cgutils.get_or_insert_function(builder.module, function, "llvm.ctlz.i64")
        return builder.call(named, [arguments[0], ir.IntType(1)(0)])

    return types.int64(types.int64), generate


@inlined
def doubling_high(a, b):
    """fixed_point.doubling_high_multiply."""
    return (a * b + (1 << 30)) >> 31


@inlined
def rounded(x, exponent):
    """fixed_point.rounding_shift."""
    mask = (1 << exponent) - 1
    more = 1 if (x & mask) > (mask >> 1) + (1 if x < 0 else 0) else 0
    return (x >> exponent) + more


@inlined
def requantised(x, multiplier, shift, mode):
    """fixed_point.requantize of one integer."""
    if mode == SINGLE:
        return (x * multiplier + (1 << (30 - shift))) >> (31 - shift)
    high = doubling_high(x << max(shift, 0), multiplier)
    return rounded(high, max(-shift, 0))


@inlined
def one_over_one_plus(a):
    """softmax.one_over_one_plus."""
    half = (a + INT32_MAX + 1) >> 1
    x = FORTY_EIGHT_17THS - doubling_high(half, THIRTY_TWO_17THS)
    for _ in range(3):
        error = (1 << 29) - doubling_high(half, x)
        x = x + min(max(doubling_high(x, error) << 2, INT32_MIN), INT32_MAX)
    return min(max(x << 1, INT32_MIN), INT32_MAX)


@inlined
def largest_of(x, channels):
    most = read_short(x)
    for c in range(1, channels):
        most = max(most, read_short(x + 2 * c))
    return most


@inlined
def softmax(x, y, channels, params):
    """One position of int8. params : address of 256 exp(-k) in Q0.31, int32, FAR where it counts as nothing."""
    most, total = largest_of(x, channels), 0
    for c in range(channels):
        e = read_word(params + 4 * (most - read_short(x + 2 * c)))
        if e != FAR:
            total += rounded(e, SUM_BITS)
    headroom = leading_zeros(total) - 32
    reciprocal = one_over_one_plus((total << headroom) - (1 << 31))
    for c in range(channels):
        e = read_word(params + 4 * (most - read_short(x + 2 * c)))
        value = 0
        if e != FAR:
            value = min(rounded(doubling_high(reciprocal, e), SUM_BITS - headroom + OUTPUT_BITS), 255)
        write_short(value, y + 2 * c)


@inlined
def look_up(table, value):
    """table.table of one int16."""
    at = table + 2 * (256 + (value >> 7))
    low = read_short(at)
    return low + (((read_short(at + 2) - low) * (value & 127) + 64) >> 7)


@inlined
def softmax_16(x, y, channels, params, mode):
    """One position of int16. params : address of m, s (int32) and the two tables."""
    multiplier, shift = read_word(params), read_word(params + 4)
    most, total = largest_of(x, channels), 0
    for c in range(channels):
        scaled = requantised(read_short(x + 2 * c) - most, multiplier, shift, mode) + 32767
        e = look_up(params + EXP_TABLE, min(max(scaled, -32768), 32767))
        total += e
        write_short(e, y + 2 * c)
    zeros = leading_zeros(total) - 32
    leading = ((total << (zeros - 1)) + (1 << 13)) >> 14
    r = look_up(params + RECIPROCAL_TABLE, min(max(leading - (1 << 15) - (1 << 16), -32768), 32767))
    right = 31 - zeros
    for c in range(channels):
        e = read_short(y + 2 * c)
        write_short(min(max((e * r + (1 << (right - 1))) >> right, 0), 32767), y + 2 * c)
