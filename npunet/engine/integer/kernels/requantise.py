"""Requantisation and addition in vectors, by the profile. The formulas are those of npunet.integer.fixed_point,
rearranged:

    h = (x * m + 2^30) >> 31            even and odd lanes as 64-bit products, blended
    D: (h + 2^(r - 1) + (x >> 31)) >> r            where h = 0 > x, with or without the sign's -1 it is 0. Sums are
                                                   doubled, by their weights: h + 2^(r - 1) is the upper half of
                                                   2 x * m + 2^31 + 2^(r + 31)
    D_ANY: ((h + ((h >> 31) & mask)) >> (r - 1) + 1) >> 1   mask = 0 for r = 0; floors nest, nothing leaves 32 bits
    S: the upper 32 bits of x * m + 2^(30 + r), >> (r - 1)

An addition's two operands are (a << L) with L = 20 or 15, whose factor is at most 1/2. With k = 31 - L and
m = mh * 2^k + ml, (a * 2^L * m + 2^30) >> 31 = a * mh + ((a * ml + 2^(k - 1)) >> k), all within 32 bits.

TensorFlow Lite gives the operand of the larger scale the factor 1/2 exactly: a << (L - 1), nothing is rounded. Of the
other, profile D then is (a * mh + ((a * ml + [a < 0] * -2^k + 2^(k - 1) + 2^(r - 1 + k)) >> k)) >> r: the sign's part
is the second product of a pair, for a int32 is a pair of int16, a and its sign.
"""

from __future__ import annotations

from npunet.engine.codegen.emit import INT64, shuffle
from npunet.engine.codegen.integers import (
    INT16,
    INT32,
    all_lanes,
    clamp,
    dot,
    larger,
    load_one,
    splat,
    to_shorts,
    vector_of,
)
from npunet.engine.integer.plan.opcodes import ADDITION_WORDS, INT8_LEFT, Mode
from npunet.engine.target import LANES

TWO = 2 * LANES  # lanes of two positions, which are done at once
WORDS, SHORTS = vector_of(INT32, TWO), vector_of(INT16, TWO)
SINGLE = (Mode.S, Mode.S_ANY, Mode.LONG_S)
LONG = (Mode.LONG, Mode.LONG_S)


class Products:
    """x * m of int32 lanes as 64-bit products of the even and the odd ones, plus a constant."""

    def __init__(self, builder, multiplier) -> None:
        self.builder, self.words = builder, multiplier.type
        self.lanes = multiplier.type.count
        self.longs = vector_of(INT64, self.lanes // 2)
        self.m = self.even_and_odd(multiplier)

    def even_and_odd(self, value):
        """The even lanes, and the odd ones, as int64.

        In a form of which LLVM sees, wherever it moves it, that one instruction multiplies it: pmuldq.
        """
        builder, by = self.builder, self.all(32)
        odd = shuffle(builder, value, value, [lane | 1 for lane in range(self.lanes)])
        return [builder.ashr(builder.shl(builder.bitcast(lanes, self.longs), by), by) for lanes in (value, odd)]

    def all(self, value: int):
        """One int64 in every lane."""
        return all_lanes(self.longs, value)

    def of(self, x, plus) -> list:
        """[even, odd] of x * m + plus, `plus` a pair of vectors."""
        x = self.even_and_odd(x)
        return [self.builder.add(self.builder.mul(a, b), c) for a, b, c in zip(x, self.m, plus, strict=True)]

    def blend(self, even, odd):
        """The lower halves of the even and the upper halves of the odd products' lanes, as int32."""
        even, odd = (self.builder.bitcast(value, self.words) for value in (even, odd))
        return shuffle(self.builder, even, odd, [k + self.lanes * (k % 2) for k in range(self.lanes)])

    def high(self, x, bits: int, plus):
        """(x * m + 2^(bits - 1)) >> bits, plus an int32 vector; bits = 31 or 32."""
        rounding = [self.builder.add(self.builder.shl(half, self.all(bits)), self.all(2 ** (bits - 1)))
                    for half in self.even_and_odd(plus)]
        even, odd = self.of(x, rounding)
        return self.blend(self.builder.lshr(even, self.all(bits)), self.builder.shl(odd, self.all(32 - bits)))


class Requantisation:
    """One mode, for lanes whose multipliers m and shifts s (int32 vectors) are given.

    doubled : whether what comes is 2 x, in Mode.D
    """

    def __init__(self, builder, mode: Mode, m, s, doubled: bool = False) -> None:
        self.builder, self.mode, self.doubled, self.words = builder, mode, doubled, m.type
        zero, one = self.all(0), self.all(1)
        self.right = larger(builder, builder.sub(zero, s), zero)
        self.left = larger(builder, s, zero)
        self.products = Products(builder, m)
        self.rounds = builder.icmp_signed(">", self.right, zero)
        half = builder.shl(one, larger(builder, builder.sub(self.right, one), zero))
        self.half = builder.select(self.rounds, half, zero)
        self.mask = builder.sext(self.rounds, self.words)
        self.fewer = larger(builder, builder.sub(self.right, one), zero)
        if mode in (Mode.S, Mode.S_ANY):
            long = self.products.all
            self.total = [builder.sub(long(31), value) for value in self.products.even_and_odd(s)]
            self.rounding = [builder.shl(long(1), builder.sub(total, long(1))) for total in self.total]

    def all(self, value: int):
        """One int32 in every lane."""
        return all_lanes(self.words, value)

    def __call__(self, x):
        builder, products = self.builder, self.products
        if self.mode == Mode.D:
            h = products.high(x, 32 if self.doubled else 31, self.half)
            return builder.ashr(builder.add(h, builder.ashr(x, self.all(31))), self.right)
        if self.mode == Mode.D_ANY:
            h = products.high(builder.shl(x, self.left), 31, self.all(0))
            h = builder.ashr(builder.add(h, builder.and_(builder.ashr(h, self.all(31)), self.mask)), self.fewer)
            return builder.ashr(builder.sub(h, self.mask), builder.sub(self.all(0), self.mask))
        even, odd = products.of(x, self.rounding)
        if self.mode == Mode.S:
            return builder.ashr(products.blend(builder.lshr(even, products.all(32)), odd), self.fewer)
        even, odd = builder.ashr(even, self.total[0]), builder.ashr(odd, self.total[1])
        return products.blend(even, builder.shl(odd, products.all(32)))


class LongRequantisation:
    """requantize_64: of sums with a bias of 64 bits, by the multiplier's upper 16 bits. Saturates to 32 bits."""

    def __init__(self, builder, m, s, bias) -> None:
        self.builder, self.bias, self.words, self.longs = builder, bias, m.type, bias.type
        rounded = builder.lshr(builder.add(m, all_lanes(m.type, 2**15)), all_lanes(m.type, 16))
        largest = builder.icmp_signed(">=", m, all_lanes(m.type, 0x7FFF0000))
        self.m = builder.zext(builder.select(largest, all_lanes(m.type, 0x7FFF), rounded), self.longs)
        self.total = builder.sub(all_lanes(self.longs, 15), builder.sext(s, self.longs))
        one = all_lanes(self.longs, 1)
        self.half = builder.shl(one, builder.sub(self.total, one))

    def __call__(self, x):
        builder, longs = self.builder, self.longs
        x = x if x.type == longs else builder.sext(x, longs)
        scaled = builder.add(builder.mul(builder.add(x, self.bias), self.m), self.half)
        return builder.trunc(clamp(builder, builder.ashr(scaled, self.total), all_lanes(longs, -(2**31)),
                                   all_lanes(longs, 2**31 - 1)), self.words)


class Operand:
    """One side of an addition: its record is (mh, ml, c, k, mask, round, r), see plan.constants.addition."""

    def __init__(self, builder, record: list) -> None:
        self.builder = builder
        self.high, self.low, self.c, self.k, self.mask, self.rounding, self.right = record

    def __call__(self, a):
        builder = self.builder
        rest = builder.ashr(builder.add(builder.mul(a, self.low), self.c), self.k)
        h = builder.add(builder.mul(a, self.high), rest)
        h = builder.add(builder.add(h, builder.and_(builder.ashr(h, all_lanes(h.type, 31)), self.mask)), self.rounding)
        return builder.ashr(h, self.right)


class HalfOperand:
    """The side of an addition of int8 that has the factor 1/2."""

    def __init__(self, builder) -> None:
        self.builder = builder

    def __call__(self, a):
        return self.builder.shl(a, all_lanes(a.type, INT8_LEFT - 1))


class OtherOperand:
    """The side of an addition of int8 beside a HalfOperand, by profile D, r >= 1; its record is (pair of ml and 2^k,
    both roundings, mh, r)."""

    def __init__(self, builder, record: list) -> None:
        self.builder = builder
        pair, self.rounding, self.high, self.right = record
        self.pair = builder.bitcast(pair, vector_of(INT16, 2 * pair.type.count))

    def __call__(self, a):
        builder = self.builder
        rest = dot(builder, self.rounding, builder.bitcast(a, self.pair.type), self.pair)
        rest = builder.ashr(rest, all_lanes(rest.type, 31 - INT8_LEFT))
        return builder.ashr(builder.add(builder.mul(a, self.high), rest), self.right)


class Addition:
    """The sum of two activations in the scale of a third, not yet clamped.

    at     : address of its record
    halved : which operand has the factor 1/2, 0 or 1; None where neither is known to, or for int16 or profile S
    """

    def __init__(self, builder, at, single: bool, halved: int | None) -> None:
        self.builder = builder
        places = [builder.add(at, INT64(4 * k)) for k in range(ADDITION_WORDS)]
        record = [splat(builder, load_one(builder, place, INT32), TWO) for place in places]
        self.operands: list = [Operand(builder, record[7 * k : 7 * k + 7]) for k in (0, 1)]
        if halved is not None:
            self.operands[halved] = HalfOperand(builder)
            self.operands[1 - halved] = OtherOperand(builder, record[18 + 4 * (1 - halved) :][:4])
        self.total = Requantisation(builder, Mode.S if single else Mode.D, *record[14:16])
        self.limits = [builder.trunc(value, SHORTS) for value in record[16:18]]

    def __call__(self, a, b):
        """int16, within the clamp."""
        first, second = (operand(value) for operand, value in zip(self.operands, (a, b), strict=True))
        return clamp(self.builder, to_shorts(self.builder, self.total(self.builder.add(first, second))), *self.limits)
