"""Convolutions with few filters, such as the top: vectors run along positions instead of filters.

With fewer filters than lanes, a vector of filters is mostly empty. So the rows that a cache block of the output reads
are first transposed into the scratch, channel by channel; then a tile is `filters` x `vectors` of neighbouring
positions. Each output still sums its taps and channels in the declared order.

Blocks go down the image, so that each row is transposed once. The scratch is a ring buffer of as many rows as the
taps reach.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    INT64,
    PAIRS,
    TARGET,
    VECTOR_BYTES,
    along,
    choose,
    dispatch,
    everywhere,
    larger_vector,
    load_scalar,
    load_vector,
    make_multiply_add,
    repeat,
    smaller_vector,
    splat,
    store_vector,
)
from npunet.engine.codegen.jit import inlined
from npunet.engine.codegen.simd import clear_value, copy_value, fetch
from npunet.engine.kernels.transpose import back_to_filters, back_to_vectors, transpose, transpose_half
from npunet.engine.plan.blocking import FEW_FILTERS_LEAST
from npunet.engine.plan.layout import FEW_FILTERS_VECTORS
from npunet.engine.plan.opcodes import Flag
from npunet.engine.target import LANES, LINE_FLOATS

UNROLLED = 4  # input channels in one pass of the innermost loop
PAIRED_FILTERS = 5  # from which pairs of vectors pay: most of their loads take two cache lines


def make_tile(fused: bool):
    """The intrinsic that convolves `filters` x `vectors` of positions into `out` [filter][position]; `arguments` are
    those of register_tile."""
    multiply_add = make_multiply_add(fused)

    @intrinsic
    def tile(typing, filters, vectors, arguments):
        def generate(context, builder, signature, values):
            arguments = cgutils.unpack_tuple(builder, values[2])
            dispatch(builder, values[1], values[0], TARGET.few_filters,
                     lambda vectors, filters: register_tile(builder, filters, vectors, multiply_add, *arguments))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, arguments), generate

    return tile


def register_tile(builder, F: int, V: int, multiply_add, t, t_step, w, channels, kh, kw, tap_row, tap_col, ring,
                  ring_end, flags, bias, out) -> None:
    """Emits the micro-kernel of F filters by V vectors of positions, pairs of them where that pays."""
    lanes = LANES
    if TARGET.pairs and F >= PAIRED_FILTERS and V % 2 == 0:
        V, lanes = V // 2, 2 * LANES

    def everywhere_of(start, f):
        return splat(builder, load_scalar(builder, builder.add(start, INT64(4 * f))), lanes)

    def over_channel(carried):
        """acc[f][v] = acc[f][v] + x[v] * w[f]."""
        at, w, *acc = carried
        weights = [everywhere_of(w, f) for f in range(F)]
        for v, place in enumerate(along(builder, at, V, lanes)):
            value = load_vector(builder, place, lanes)
            for f, weight in enumerate(weights):
                acc[f * V + v] = multiply_add(builder, value, weight, acc[f * V + v])
        return [builder.add(at, t_step), builder.add(w, INT64(4 * F)), *acc]

    def over_four_channels(carried):
        for _ in range(UNROLLED):
            carried = over_channel(carried)
        return carried

    def over_kx(carried):
        at, *w_and_acc = carried
        carried = repeat(builder, fours, [at, *w_and_acc], over_four_channels)
        _, *w_and_acc = repeat(builder, rest, carried, over_channel)
        return [builder.add(at, tap_col), *w_and_acc]

    def over_ky(carried):
        row, *w_and_acc = carried
        _, *w_and_acc = repeat(builder, kw, [row, *w_and_acc], over_kx)
        row = builder.add(row, tap_row)
        around = builder.icmp_signed(">=", row, ring_end)
        return [builder.select(around, builder.sub(row, ring), row), *w_and_acc]

    def has(flag):
        return builder.icmp_signed("!=", builder.and_(flags, INT64(flag)), INT64(0))

    def add_bias(acc):
        biases = [everywhere_of(bias, f) for f in range(F)]
        return [builder.fadd(value, biases[k // V]) for k, value in enumerate(acc)]

    def clamp(high):
        low, high = everywhere(0.0, lanes), everywhere(high, lanes)
        return lambda acc: [smaller_vector(builder, high, larger_vector(builder, low, a)) for a in acc]

    fours, rest = builder.sdiv(channels, INT64(UNROLLED)), builder.srem(channels, INT64(UNROLLED))
    acc = [everywhere(0.0, lanes)] * (F * V)
    _, _, *acc = repeat(builder, kh, [t, w, *acc], over_ky)
    acc = choose(builder, has(Flag.BIAS), acc, add_bias)
    acc = choose(builder, has(Flag.RELU), acc, clamp(float("inf")))
    acc = choose(builder, has(Flag.RELU6), acc, clamp(6.0))
    for k, value in enumerate(acc):
        store_vector(builder, value, builder.add(out, INT64(4 * lanes * k)))


def make_few_filters(fused: bool):
    """The convolution of `count` neighbouring positions of row i.

    x, x_row, x_step : address of what the first tap of the first position reads, and bytes to the next row and position
    dilation, tap_col : from a tap to the next, in rows and in positions
    pitch            : bytes of a transposed row;  scratch : for those that the taps reach, and a tile of the output
    fresh            : when row i - 1 of these positions was not the last thing it did with this scratch
    """
    tile = make_tile(fused)

    @inlined
    def few_filters(filters, channels, kh, kw, x, x_row, x_step, dilation, tap_col, pitch, w, bias, flags, y, y_step,
               scratch, i, count, fresh):
        most, least = FEW_FILTERS_VECTORS[filters - 1], FEW_FILTERS_LEAST[filters - 1]
        needed, x_col = count + (kw - 1) * tap_col, x_step // 4
        rows, size = (kh - 1) * dilation + 1, pitch * x_col
        ring, ring_end = rows * size, scratch + rows * size
        out = ring_end
        for row in range(0 if fresh else rows - 1, rows):
            place = scratch + (i + row) % rows * size
            for channel in range(0, x_col, LANES):
                done = 0
                while done < needed:
                    if needed >= LANES:
                        done = min(done, needed - LANES)  # the last block reaches back: it writes the same again
                    block = x + row * x_row + 4 * channel + done * x_step
                    if channels - channel <= LANES // 2:
                        transpose_half(block, x_step, place + pitch * channel + 4 * done, pitch)
                    else:
                        transpose(block, x_step, place + pitch * channel + 4 * done, pitch)
                    if kh > 1 and channel % LINE_FLOATS == 0:
                        fetch(LANES, block + x_row, x_step)  # what the next row will read
                    done += LANES
        t = scratch + i % rows * size
        left = count
        while left > 0:
            wanted = (left + LANES - 1) // LANES
            tiles = (wanted + most - 1) // most
            vectors = max(least, (wanted + tiles - 1) // tiles)
            if PAIRS and filters >= PAIRED_FILTERS and wanted >= 4:
                vectors = 4
            tile(filters, vectors, (t, pitch, w, channels, kh, kw, dilation * size, 4 * tap_col, ring, ring_end, flags,
                                    bias, out))
            ready = min(LANES * vectors, left)
            for m in range(0, ready - LANES + 1, LANES):  # back to filters side by side
                if y_step > 4 * filters:
                    back_to_vectors(filters, out + 4 * m, VECTOR_BYTES * vectors, y + m * y_step, y_step)
                else:
                    back_to_filters(filters, out + 4 * m, VECTOR_BYTES * vectors, y + m * y_step, y_step)
            for m in range(ready // LANES * LANES, ready):
                for f in range(filters, y_step // 4):
                    clear_value(y + m * y_step + 4 * f)
                for f in range(filters):
                    copy_value(out + 4 * (f * LANES * vectors + m), y + m * y_step + 4 * f)
            y += ready * y_step
            t += 4 * ready
            left -= ready

    return few_filters
