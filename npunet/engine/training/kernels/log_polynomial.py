"""Logarithms and float64 exponentials: polynomials of plain operations, so that no library decides a bit."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.vectors import (
    DOUBLES,
    INTEGERS,
    LONGS,
    bits_of,
    from_bits,
    where_less,
    wide,
    wide_same,
)

ROOT_MANTISSA = 0x6A09E667F3BCD  # of the root of 2
LN2_HI, LN2_LO = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
LOG2E = float.fromhex("0x1.71547652b82fep+0")
C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11 = (1.0 / (2 * k + 1) for k in range(12))
FACTORIALS = tuple(1.0 / float(np.prod(np.arange(1.0, k + 1))) for k in range(15))
MANTISSA = (1 << 52) - 1


@inlined
def log_inline(x):
    """Natural logarithm of a normal positive float64 by 2 artanh((m - 1) / (m + 1)), m within a root of 2 of 1."""
    bits = bits_of(x)
    above = 1 if bits & MANTISSA > ROOT_MANTISSA else 0
    exponent = (bits >> 52) - 1023 + above
    m = from_bits((bits & MANTISSA) | ((1023 - above) << 52))
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    t2 = t * t
    t4 = t2 * t2
    low = (C0 + C1 * t) + (C2 + C3 * t) * t2
    middle = (C4 + C5 * t) + (C6 + C7 * t) * t2
    high = (C8 + C9 * t) + (C10 + C11 * t) * t2
    q = low + (middle + high * t4) * t4
    value = exponent * LN2_HI + (exponent * LN2_LO + 2.0 * s * q)
    return value if x < np.inf else x  # NaN and infinity stay


@jit
def log64(x):
    return log_inline(x)


@jit
def exp64(x):
    """Exponential of a float64, 0 below -700; x at most 700."""
    if x < -700.0:
        return 0.0
    n = np.rint(x * LOG2E) if x == x else 0.0
    r = (x - n * LN2_HI) - n * LN2_LO
    q = FACTORIALS[14]
    for k in range(13, -1, -1):
        q = q * r + FACTORIALS[k]
    return q * from_bits((np.int64(n) + 1023) << 52)


@intrinsic
def parts_of(typing, x):
    """(m, e) of normal positive float64 with x = m * 2^e and m within a root of 2 of 1."""

    def generate(context, builder, signature, arguments):
        def every(number):
            return ir.Constant(LONGS, [number] * LONGS.count)

        bits = builder.bitcast(arguments[0], LONGS)
        mantissa = builder.and_(bits, every(MANTISSA))
        above = builder.zext(builder.icmp_signed(">", mantissa, every(ROOT_MANTISSA)), LONGS)
        exponent = builder.add(builder.sub(builder.lshr(bits, every(52)), every(1023)), above)
        m = builder.or_(mantissa, builder.shl(builder.sub(every(1023), above), every(52)))
        return context.make_tuple(builder, signature.return_type, [
            builder.bitcast(m, DOUBLES), builder.sitofp(builder.trunc(exponent, INTEGERS), DOUBLES)])

    return types.UniTuple(wide, 2)(wide), generate


@inlined
def wide_log(x):
    """log_inline, lane by lane: the same operations."""
    m, exponent = parts_of(x)
    s = (m - wide_same(1.0)) / (m + wide_same(1.0))
    t = s * s
    t2 = t * t
    t4 = t2 * t2
    low = (wide_same(C0) + wide_same(C1) * t) + (wide_same(C2) + wide_same(C3) * t) * t2
    middle = (wide_same(C4) + wide_same(C5) * t) + (wide_same(C6) + wide_same(C7) * t) * t2
    high = (wide_same(C8) + wide_same(C9) * t) + (wide_same(C10) + wide_same(C11) * t) * t2
    q = low + (middle + high * t4) * t4
    value = exponent * wide_same(LN2_HI) + (exponent * wide_same(LN2_LO) + wide_same(2.0) * s * q)
    return where_less(x, wide_same(np.inf), value, x)
