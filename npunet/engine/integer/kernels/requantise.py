"""From int32 sums to int16 activations: requantise by the profile, add the residual, clamp, store.

One function a mode, all emitted by the same formulas; each runs along the positions of one vector of filters, whose
multipliers and shifts stay in registers. The formulas are those of npunet.integer.fixed_point, rearranged:

    h = (x * m + 2^30) >> 31            even and odd lanes as 64-bit products, blended
    D: (h + (h >> 31) + 2^(r - 1)) >> r            of sums that are doubled, by their weights: h is the upper half of
                                                   2 x * m + 2^31
    D_ANY: ((h + ((h >> 31) & mask)) >> (r - 1) + 1) >> 1   mask = 0 for r = 0; floors nest, nothing leaves 32 bits
    S: the upper 32 bits of x * m + 2^(30 + r), >> (r - 1)

An addition's two operands are (a << L) with L = 20 or 15, whose factor is at most 1/2. With k = 31 - L and
m = mh * 2^k + ml, (a * 2^L * m + 2^30) >> 31 = a * mh + ((a * ml + 2^(k - 1)) >> k), all within 32 bits.

TensorFlow Lite gives the operand of the larger scale the factor 1/2 exactly: a << (L - 1), nothing is rounded. Of the
other, profile D then is (a * mh + ((a * ml + [a < 0] * -2^k + 2^(k - 1) + 2^(r - 1 + k)) >> k)) >> r: the sign's part
is the second product of a pair, for a int32 is a pair of int16, a and its sign.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, choose, repeat, shuffle
from npunet.engine.codegen.integers import (
    INT16,
    INT32,
    all_lanes,
    clamp,
    dot,
    halves,
    join,
    larger,
    load,
    load_one,
    splat,
    store,
    to_shorts,
    vector_of,
    widen,
)
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.integer.kernels.vectors import aligned_stack
from npunet.engine.integer.plan.opcodes import ADDITION_WORDS, INT8_LEFT, Mode
from npunet.engine.target import LANES

WORDS, SHORTS = vector_of(INT32), vector_of(INT16)
SUM_BYTES = 4 * LANES
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

    def high_of_doubled(self, x):
        """(x * m + 2^31) >> 32."""
        half = self.all(2**31)
        even, odd = self.of(x, (half, half))
        return self.blend(self.builder.lshr(even, self.all(32)), odd)

    def high_rounded(self, x):
        """(x * m + 2^30) >> 31."""
        half = self.all(2**30)
        even, odd = self.of(x, (half, half))
        return self.blend(self.builder.lshr(even, self.all(31)), self.builder.shl(odd, self.all(1)))


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
            h = products.high_of_doubled(x) if self.doubled else products.high_rounded(x)
            return builder.ashr(builder.add(builder.add(h, builder.ashr(h, self.all(31))), self.half), self.right)
        if self.mode == Mode.D_ANY:
            h = products.high_rounded(builder.shl(x, self.left))
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
    lanes  : of the vectors that it adds
    halved : which operand has the factor 1/2, 0 or 1; None where neither is known to, or for int16 or profile S
    """

    def __init__(self, builder, at, lanes: int, single: bool, halved: int | None) -> None:
        self.builder = builder
        places = [builder.add(at, INT64(4 * k)) for k in range(ADDITION_WORDS)]
        record = [splat(builder, load_one(builder, place, INT32), lanes) for place in places]
        self.operands: list = [Operand(builder, record[7 * k : 7 * k + 7]) for k in (0, 1)]
        if halved is not None:
            self.operands[halved] = HalfOperand(builder)
            self.operands[1 - halved] = OtherOperand(builder, record[18 + 4 * (1 - halved) :][:4])
        self.total = Requantisation(builder, Mode.S if single else Mode.D, *record[14:16])
        narrow = [builder.trunc(value, vector_of(INT16, lanes)) for value in record[16:18]]
        self.limits = [as_often(builder, [value], 2 * LANES // lanes) for value in narrow]

    def shorts(self, a, b):
        """int16, within the clamp."""
        first, second = (operand(value) for operand, value in zip(self.operands, (a, b), strict=True))
        return clamped_shorts(self.builder, self.total(self.builder.add(first, second)), self.limits)


def splat_number(builder, value, kind: ir.VectorType):
    return splat(builder, builder.trunc(value, kind.element), kind.count)


def along_positions(builder, count, starts: list, steps: list, make) -> None:
    """Emits two positions at a time, joined, then what is left.

    make(positions, starts) : gives the int16 values of one or two positions
    The last of starts is where they are stored.
    """
    def pass_of(positions: int):
        def body(carried):
            store_positions(builder, make(positions, carried), carried[-1], steps[-1])
            return further(builder, carried, steps, positions)
        return body

    ends = repeat(builder, builder.lshr(count, INT64(1)), starts, pass_of(2))
    choose(builder, builder.trunc(count, ir.IntType(1)), ends, pass_of(1))


def in_two_stages(builder, count, starts: list, steps: list, first, second) -> None:
    """The same as a software pipeline: while two positions are in the second stage, the next two are in the first. One
    stage alone fills a window of out-of-order execution; of both, one would wait for the other.

    first(start)                   : what the first stage gives for two positions, read from the first of starts; it may
                                     be asked for two more behind the last
    second(positions, given, starts) : the int16 values of one or two positions
    """
    def both(carried):
        given, *places = carried
        ahead = first(builder.add(places[0], builder.shl(steps[0], INT64(1))))
        store_positions(builder, second(2, given, places), places[-1], steps[-1])
        return [ahead, *further(builder, places, steps, 2)]

    def last(carried):
        given, *places = carried
        store_positions(builder, second(1, halves(builder, given)[0], places), places[-1], steps[-1])
        return carried

    ends = repeat(builder, builder.lshr(count, INT64(1)), [first(starts[0]), *starts], both)
    choose(builder, builder.trunc(count, ir.IntType(1)), ends, last)


def store_positions(builder, values, y, y_step) -> None:
    """One or two positions' int16."""
    for m, part in enumerate(halves(builder, values) if values.type.count > LANES else [values]):
        store(builder, part, builder.add(y, y_step) if m else y)


def further(builder, places: list, steps: list, positions: int) -> list:
    """Addresses so many positions on."""
    return [builder.add(place, builder.mul(step, INT64(positions))) for place, step in zip(places, steps, strict=True)]


def of_positions(builder, x, step, positions: int):
    """The int16 of one or two positions, as int32."""
    places = [x, builder.add(x, step)][:positions]
    return widen(builder, as_often(builder, [load(builder, place, INT16) for place in places], positions))


def as_often(builder, values: list, positions: int):
    """One vector for each of so many positions, joined; a single one is taken for all."""
    return join(builder, values[0], values[-1]) if positions == 2 else values[0]


def make_finish(mode: Mode, source: ir.Type, adds: bool, halved: int | None = None):
    """The intrinsic that finishes `count` positions of one vector of filters.

    x            : sums, of neighbouring positions;  m, s, bias : addresses of the vector's constants
    low, high    : clamp;  y, y_step : of the first position's vector, and to the next position
    addend, addend_step, record : the residual's second operand and the addition's record, if it adds
    """
    x_step = INT64(source.width // 8 * LANES)

    @intrinsic
    def finish(typing, arguments):
        def generate(context, builder, signature, values):
            count, x, m, s, bias, low, high, y, y_step, addend, addend_step, record = (
                cgutils.unpack_tuple(builder, values[0]))
            m, s = load(builder, m, INT32), load(builder, s, INT32)
            long_bias = load(builder, bias, INT64) if mode in LONG else None

            def requantisation(positions):
                m_s = [as_often(builder, [value], positions) for value in (m, s)]
                if mode in LONG:
                    return LongRequantisation(builder, *m_s, as_often(builder, [long_bias], positions))
                return Requantisation(builder, mode, *m_s, doubled=mode == Mode.D)

            requantise = {positions: requantisation(positions) for positions in (1, 2)}

            def requantised(positions, start):
                return requantise[positions](load(builder, start, source, positions * LANES))

            if not adds:
                def finished(positions, starts):
                    return clamped_shorts(builder, requantised(positions, starts[0]), limits_of(builder, low, high))

                along_positions(builder, count, [x, y], [x_step, y_step], finished)
                return context.get_dummy_value()

            adders = {positions: Addition(builder, record, positions * LANES, mode in SINGLE, halved)
                      for positions in (1, 2)}

            def clamped(start):
                value = requantised(2, start)
                return clamp(builder, value, *(splat_number(builder, value_, value.type) for value_ in (low, high)))

            def added(positions, given, starts):
                other = of_positions(builder, starts[1], addend_step, positions)
                return adders[positions].shorts(given, other)

            in_two_stages(builder, count, [x, addend, y], [x_step, addend_step, y_step], clamped, added)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return finish


def limits_of(builder, low, high) -> list:
    """Numbers as vectors of int16 for two positions."""
    return [splat_number(builder, value, vector_of(INT16, 2 * LANES)) for value in (low, high)]


def clamped_shorts(builder, value, limits: list):
    """int32 of one or two positions as int16 within limits."""
    if value.type.count == LANES:
        limits = [halves(builder, limit)[0] for limit in limits]
    return clamp(builder, to_shorts(builder, value), *limits)


def make_finish_row(adds: bool):
    """All vectors of `count` positions from their sums, in the mode that is told.

    plane  : bytes from one vector's sums to the next's
    params : address of m, of s, both int32, and of a long bias, each of whole vectors
    halved : which operand of the addition has the factor 1/2, or another number
    """
    of_d, of_d_any, of_s, of_s_any, of_long, of_long_s = (make_finish(mode, INT32, adds) for mode in Mode)
    of_longs, of_longs_s = (make_finish(mode, INT64, adds) for mode in LONG)
    of_d_first, of_d_second = (make_finish(Mode.D, INT32, adds, half) for half in (0, 1))

    @jit
    def finish_row(mode, wide, count, vectors, sums, plane, params, low, high, y, y_step, addend, addend_step, record,
                   halved):
        stand_alone()
        aligned_stack()
        m, padded = params, 4 * LANES * vectors
        for v in range(vectors):
            place = 4 * LANES * v
            arguments = (count, sums, m + place, m + padded + place,
                         m + 2 * padded + 2 * place, low, high, y, y_step, addend, addend_step, record)
            if adds and mode == D and halved == 0:
                of_d_first(arguments)
            elif adds and mode == D and halved == 1:
                of_d_second(arguments)
            elif mode == D:
                of_d(arguments)
            elif mode == D_ANY:
                of_d_any(arguments)
            elif mode == S:
                of_s(arguments)
            elif mode == S_ANY:
                of_s_any(arguments)
            elif mode == LONG_D and wide:
                of_longs(arguments)
            elif mode == LONG_D:
                of_long(arguments)
            elif wide:
                of_longs_s(arguments)
            else:
                of_long_s(arguments)
            sums += plane
            y += 2 * LANES
            addend += 2 * LANES

    return finish_row


D, D_ANY, S, S_ANY, LONG_D, LONG_S = (int(mode) for mode in Mode)
finish_row, finish_and_add_row = make_finish_row(adds=False), make_finish_row(adds=True)
