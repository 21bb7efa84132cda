"""Gradients of depthwise kernels: a row's share at a time, added to the chunk's sums.

dw[ky, kx, c] = sum over n, i, j of x[n, i + ky*dy - top, j + kx*dx - left, c] * dz[n, i, j, c]

Every tap of a row has a few sums in float32, each over every so many-th position, by fused multiply-adds; they are
added to the chunk's in order, in float64. The row is done in parts, all taps and channels of one before the next, so
that what they read stays in the first-level cache; between parts the float32 sums wait behind the chunk's.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    INT64,
    PAIRS,
    VECTOR_BYTES,
    choose,
    everywhere,
    keep_order,
    load_vector,
    make_multiply_add,
    offset,
    repeat,
    store_vector,
)
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import doubles, load_wide_at, store_wide_at
from npunet.engine.target import FIRST_CACHE, LANES
from npunet.engine.training.kernels.rows import Z, first_tap, opens_chunk, place, slot
from npunet.engine.training.plan.instructions import WAYS, ways_of
from npunet.engine.training.plan.step_opcodes import Field

PART_BYTES = FIRST_CACHE * 3 // 4  # that a part reads: three quarters of a first-level cache of 32 KiB
UNIT = 24  # positions: whole rounds of every number of ways
WAYS_1, WAYS_3, WAYS_5 = ways_of(1), ways_of(3), ways_of(5)


@intrinsic(prefer_literal=True)
def sum_taps(typing, vectors, kw, ways, count, x, x_step, z, z_step, kept, opens, closes, sums, sums_step, fresh):
    """Sums of x[j + kx] * z[j] over `count` positions j of a part, for kw neighbouring taps; one register of channels,
    `vectors` of them.

    kept   : where the float32 sums, `ways` a tap, come from unless it opens the row, and go to unless it closes it
    sums   : then they are added to these, one vector a tap, or put there where fresh

    What is left over of a row after whole rounds of the ways goes to the first.
    """
    width, number, lanes = kw.literal_value, ways.literal_value, LANES * vectors.literal_value
    multiply_add = make_multiply_add(fused=True)

    def generate(context, builder, signature, arguments):
        _, _, _, count, x, x_step, z, z_step, kept, opens, closes, sums, sums_step, fresh = arguments

        def some(round_):
            def over_positions(carried):
                keep_order(builder)
                x, z, *acc = carried
                gradients = [load_vector(builder, offset(builder, z, z_step, way), lanes) for way in range(round_)]
                for position in range(round_ + width - 1):
                    value = load_vector(builder, offset(builder, x, x_step, position), lanes)
                    for way in range(max(0, position - width + 1), min(round_, position + 1)):
                        k = (position - way) * number + way
                        acc[k] = multiply_add(builder, value, gradients[way], acc[k])
                return [offset(builder, x, x_step, round_), offset(builder, z, z_step, round_), *acc]

            return over_positions

        def is_not(flag):
            return builder.icmp_signed("==", flag, INT64(0))

        places = [builder.add(kept, INT64(4 * lanes * k)) for k in range(width * number)]
        acc = [everywhere(0.0, lanes)] * (width * number)
        acc = choose(builder, is_not(opens), acc, lambda _: [load_vector(builder, at, lanes) for at in places])
        carried = repeat(builder, builder.sdiv(count, INT64(number)), [x, z, *acc], some(number))
        _, _, *acc = repeat(builder, builder.srem(count, INT64(number)), carried, some(1))

        def keep(_):
            for value, at in zip(acc, places, strict=True):
                store_vector(builder, value, at)
            return []

        def close(_):
            for kx in range(width):
                at = offset(builder, sums, sums_step, kx)
                (total,) = choose(builder, is_not(fresh), [ir.Constant(doubles(lanes), [0.0] * lanes)],
                                  lambda _, at=at: [load_wide_at(builder, at, lanes)])
                for way in range(number):
                    total = builder.fadd(total, builder.fpext(acc[kx * number + way], doubles(lanes)))
                store_wide_at(builder, total, at)
            return []

        choose(builder, is_not(closes), [], keep)
        choose(builder, builder.not_(is_not(closes)), [], close)
        return context.get_dummy_value()

    return types.void(vectors, kw, ways, *[types.intp] * 11), generate


def make_column(vectors):
    """The sums of a part, all taps of a literal number of vectors."""

    @inlined
    def column(p, count, x, z, kept, opens, closes, sums, fresh):
        kw, x_step, z_step, tap_col = p[Field.KW], 4 * p[Field.X_COL], 4 * p[Field.Z_COL], 4 * p[Field.TAP_COL]
        sums_step = 8 * LANES * p[Field.VECTORS]
        for _ in range(p[Field.KH]):
            if tap_col == x_step and kw == 3:
                sum_taps(vectors, 3, WAYS_3, count, x, x_step, z, z_step, kept, opens, closes, sums, sums_step, fresh)
            elif tap_col == x_step and kw == 5:
                sum_taps(vectors, 5, WAYS_5, count, x, x_step, z, z_step, kept, opens, closes, sums, sums_step, fresh)
            else:
                for kx in range(kw):
                    sum_taps(vectors, 1, WAYS_1, count, x + kx * tap_col, x_step, z, z_step,
                             kept + kx * vectors * VECTOR_BYTES * WAYS, opens, closes, sums + kx * sums_step, sums_step,
                             fresh)
            x += 4 * p[Field.TAP_ROW]
            sums += kw * sums_step
            kept += kw * vectors * VECTOR_BYTES * WAYS

    return column


column, column_pair = make_column(1), make_column(2)


@jit
def depthwise_dw(p, arena, sums, n, i):
    """Add row i of sample n to its chunk's sums: for every tap a row of channels.

    x : the convolution's input, z : its output's gradient
    """
    stand_alone()
    width, vectors, kh, kw = p[Field.WIDTH], p[Field.VECTORS], p[Field.KH], p[Field.KW]
    x_step, z_step = 4 * p[Field.X_COL], 4 * p[Field.Z_COL]
    fresh = 1 if opens_chunk(p, i) else 0
    home = slot(p, sums, n, i)
    first_kept, kept_step = home + kh * kw * 8 * LANES * vectors, kh * kw * VECTOR_BYTES * WAYS
    part = max(1, PART_BYTES // ((kh + 1) * x_step) // UNIT) * UNIT
    for start in range(0, width, part):
        count, opens, closes = min(part, width - start), 1 if start == 0 else 0, 1 if start + part >= width else 0
        z = place(p, arena, Z, n, i) + start * z_step
        x = first_tap(p, arena, n, i) + start * x_step
        v = 0
        while v < vectors:
            shift, kept = VECTOR_BYTES * v, first_kept + v * kept_step
            if PAIRS and v + 2 <= vectors:
                column_pair(p, count, x + shift, z + shift, kept, opens, closes, home + 2 * shift, fresh)
                v += 2
            else:
                column(p, count, x + shift, z + shift, kept, opens, closes, home + 2 * shift, fresh)
                v += 1
