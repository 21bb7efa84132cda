"""Convolutions with few filters, such as the top: vectors run along positions instead of filters.

With fewer filters than lanes, a vector of filters is mostly empty. So the rows that a piece of the output reads are
first transposed into the scratch, channel by channel; then a tile is `filters` x `vectors` of neighbouring positions.
Each output still sums its taps and channels in the declared order.

Pieces go down the image, so that each row is transposed once. The scratch is a ring of as many rows as the taps reach,
twice over: each row stands in both, so those of an output always stand one after another.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from npunet.engine.jit import inlined
from npunet.engine.opcodes import Field, Flag
from npunet.engine.program import NARROW_VECTORS
from npunet.engine.simd import (
    INT64,
    LANES,
    VECTOR_BYTES,
    along,
    choose,
    copy_value,
    everywhere,
    larger_vector,
    load_scalar,
    load_vector,
    make_multiply_add,
    offset,
    repeat,
    shuffle,
    smaller_vector,
    splat,
    store_vector,
)


@intrinsic(prefer_literal=True)
def transpose(typing, copies, x, x_step, t, t_step, apart):
    """LANES positions of LANES channels, every x_step bytes, to LANES rows of positions, every t_step bytes; in a
    literal number of copies, so many bytes apart."""

    def generate(context, builder, signature, arguments):
        _, x, x_step, t, t_step, apart = arguments
        rows = [load_vector(builder, offset(builder, x, x_step, m)) for m in range(LANES)]
        # three rounds of pairwise exchanges: of elements, of pairs, of halves
        for distance, low, high in (
            (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
            (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
            (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
        ):
            exchanged = list(rows)
            for m in range(LANES):
                if m & distance == 0:
                    exchanged[m] = shuffle(builder, rows[m], rows[m + distance], low)
                    exchanged[m + distance] = shuffle(builder, rows[m], rows[m + distance], high)
            rows = exchanged
        for channel, row in enumerate(PLACES):
            for copy in range(copies.literal_value):
                store_vector(builder, rows[row], offset(builder, offset(builder, t, t_step, channel), apart, copy))
        return context.get_dummy_value()

    return types.void(copies, *[types.intp] * 5), generate


# where the three rounds leave each channel
PLACES = (0, 2, 1, 3, 4, 6, 5, 7)


def make_narrow_tile(fused: bool):
    """The intrinsic that convolves `filters` x `vectors` of positions, both literal, into `out` [filter][position]."""
    multiply_add = make_multiply_add(fused)

    @intrinsic(prefer_literal=True)
    def narrow_tile(typing, filters, vectors, t, t_step, w, channels, kh, kw, tap_row, tap_col, flags, bias, out):
        F, V = filters.literal_value, vectors.literal_value

        def generate(context, builder, signature, arguments):
            _, _, t, t_step, w, channels, kh, kw, tap_row, tap_col, flags, bias, out = arguments

            def over_channels(carried):
                """acc[f][v] = acc[f][v] + x[v] * w[f]."""
                at, w, *acc = carried
                values = [load_vector(builder, place) for place in along(builder, at, V)]
                for f in range(F):
                    weight = splat(builder, load_scalar(builder, builder.add(w, INT64(4 * f))))
                    for v, value in enumerate(values):
                        acc[f * V + v] = multiply_add(builder, value, weight, acc[f * V + v])
                return [builder.add(at, t_step), builder.add(w, INT64(4 * F)), *acc]

            def over_kx(carried):
                at, *w_and_acc = carried
                _, *w_and_acc = repeat(builder, channels, [at, *w_and_acc], over_channels)
                return [builder.add(at, tap_col), *w_and_acc]

            def over_ky(carried):
                row, *w_and_acc = carried
                _, *w_and_acc = repeat(builder, kw, [row, *w_and_acc], over_kx)
                return [builder.add(row, tap_row), *w_and_acc]

            def asked(flag):
                return builder.icmp_signed("!=", builder.and_(flags, INT64(flag)), INT64(0))

            def add_bias(acc):
                biases = [splat(builder, load_scalar(builder, builder.add(bias, INT64(4 * f)))) for f in range(F)]
                return [builder.fadd(value, biases[k // V]) for k, value in enumerate(acc)]

            def clamp(high):
                low, high = everywhere(0.0), everywhere(high)
                return lambda acc: [smaller_vector(builder, high, larger_vector(builder, low, a)) for a in acc]

            acc = [everywhere(0.0)] * (F * V)
            _, _, *acc = repeat(builder, kh, [t, w, *acc], over_ky)
            acc = choose(builder, asked(Flag.BIAS), acc, add_bias)
            acc = choose(builder, asked(Flag.RELU), acc, clamp(float("inf")))
            acc = choose(builder, asked(Flag.RELU6), acc, clamp(6.0))
            for k, value in enumerate(acc):
                store_vector(builder, value, builder.add(out, INT64(VECTOR_BYTES * k)))
            return context.get_dummy_value()

        return types.void(filters, vectors, *[types.intp] * 11), generate

    return narrow_tile


def make_narrow(fused: bool):
    """The narrow convolution of positions at ... at+count-1 of row i of the output of instruction p.

    `fresh` when row i - 1 of these positions was not the last thing it did with this scratch.
    """
    tile = make_narrow_tile(fused)
    V1, V2, V3, V4, V5, V6 = NARROW_VECTORS

    @inlined
    def narrow(p, arena, constants, scratch, i, at, count, fresh):
        filters, kh, kw, x_step = p[Field.NARROW], p[Field.KH], p[Field.KW], 4 * p[Field.X_COL]
        vectors = NARROW_VECTORS[filters - 1]
        tap_col = 4 * (p[Field.TAP_COL] // p[Field.X_COL])  # neighbouring positions are neighbours now
        needed = count + (kw - 1) * (tap_col // 4)
        pitch = 4 * p[Field.PITCH]
        x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + p[Field.START]) + at * x_step
        dilation, size = p[Field.TAP_ROW] // p[Field.X_ROW], pitch * p[Field.X_COL]
        ring = (kh - 1) * dilation + 1
        out = scratch + (2 * ring if ring > 1 else 1) * size
        for row in range(0 if fresh else ring - 1, ring):
            for channel in range(0, p[Field.X_COL], LANES):
                done = 0
                while done < needed:
                    if needed >= LANES:
                        done = min(done, needed - LANES)  # the last block reaches back: it writes the same again
                    source = x + 4 * (row * p[Field.X_ROW] + channel) + done * x_step
                    target = scratch + (i + row) % ring * size + pitch * channel + 4 * done
                    if ring == 1:
                        transpose(1, source, x_step, target, pitch, 0)
                    else:
                        transpose(2, source, x_step, target, pitch, ring * size)
                    done += LANES
        y = arena + 4 * (p[Field.Y] + i * p[Field.Y_ROW] + at * p[Field.Y_COL])
        w, bias = constants + 4 * p[Field.WEIGHTS], constants + 4 * p[Field.BIAS]
        y_step = 4 * p[Field.Y_COL]
        channels, flags, tap_row = p[Field.CHANNELS], p[Field.FLAGS], dilation * size
        done = 0
        while done < count:
            t = scratch + i % ring * size + 4 * done
            if filters == 1:
                tile(1, V1, t, pitch, w, channels, kh, kw, tap_row, tap_col, flags, bias, out)
            elif filters == 2:
                tile(2, V2, t, pitch, w, channels, kh, kw, tap_row, tap_col, flags, bias, out)
            elif filters == 3:
                tile(3, V3, t, pitch, w, channels, kh, kw, tap_row, tap_col, flags, bias, out)
            elif filters == 4:
                tile(4, V4, t, pitch, w, channels, kh, kw, tap_row, tap_col, flags, bias, out)
            elif filters == 5:
                tile(5, V5, t, pitch, w, channels, kh, kw, tap_row, tap_col, flags, bias, out)
            else:
                tile(6, V6, t, pitch, w, channels, kh, kw, tap_row, tap_col, flags, bias, out)
            ready = min(LANES * vectors, count - done)
            for m in range(0, ready - LANES + 1, LANES):  # back to filters side by side
                transpose(1, out + 4 * m, VECTOR_BYTES * vectors, y + m * y_step, y_step, 0)
            for m in range(ready // LANES * LANES, ready):
                for f in range(filters):
                    copy_value(out + 4 * (f * LANES * vectors + m), y + m * y_step + 4 * f)
            y += ready * y_step
            done += LANES * vectors

    return narrow
