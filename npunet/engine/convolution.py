"""Convolution kernels: tiles of positions x output channels, summed in the declared order.

A tile is `rows` positions of one image row times `vectors` vectors of output channels, all held in registers while the
taps and input channels go by in the order of ARITHMETIC: ky, kx, channel. How an image is cut into tiles changes nothing.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.jit import inlined
from npunet.engine.opcodes import Field, Flag, Op
from npunet.engine.simd import (
    INT64,
    LANES,
    VECTOR,
    VECTOR_BYTES,
    Tile,
    addresses,
    along,
    choose,
    clamp_vector,
    load_scalar,
    load_vector,
    make_elementwise,
    make_multiply_add,
    repeat,
    splat,
    store,
    store_vector,
    zeros,
)

REGISTERS = 12  # accumulators of the largest tile: 16 vector registers less weights and one broadcast
DEPTHWISE_ROWS = 8
CONV, SEPARABLE, DEPTHWISE = int(Op.CONV), int(Op.SEPARABLE), int(Op.DEPTHWISE)


@inlined
def block_vectors(remaining):
    """Vectors of output channels that the next tile takes: twos, after one three where the number is odd."""
    if remaining == 1:
        return 1
    return 3 if remaining % 2 else 2


def make_convolve(fused: bool):
    """The intrinsic that convolves one tile of literal shape; `arguments` are those of any_tile."""
    multiply_add = make_multiply_add(fused)

    @intrinsic(prefer_literal=True)
    def convolve(typing, rows, vectors, arguments):
        tile = Tile(rows.literal_value, vectors.literal_value)

        def generate(context, builder, signature, values):
            (x, x_step, w, channels, kh, kw, tap_row, tap_col,
             y, y_step, flags, bias, addend, addend_step) = cgutils.unpack_tuple(builder, values[2])

            def asked(flag):
                return builder.icmp_signed("!=", builder.and_(flags, INT64(flag)), INT64(0))

            def over_channels(carried):
                """acc[m][v] = acc[m][v] + x[m] * w[v]."""
                at, w, *acc = carried
                weights = [load_vector(builder, place) for place in along(builder, w, tile.vectors)]
                position = at
                for m in range(tile.rows):
                    scalar = splat(builder, load_scalar(builder, position))
                    position = builder.add(position, x_step)
                    for v, weight in enumerate(weights):
                        k = m * tile.vectors + v
                        acc[k] = multiply_add(builder, scalar, weight, acc[k])
                return [builder.add(at, INT64(4)), builder.add(w, INT64(VECTOR_BYTES * tile.vectors)), *acc]

            def over_kx(carried):
                at, *w_and_acc = carried
                _, *w_and_acc = repeat(builder, channels, [at, *w_and_acc], over_channels)
                return [builder.add(at, tap_col), *w_and_acc]

            def over_ky(carried):
                row, *w_and_acc = carried
                _, *w_and_acc = repeat(builder, kw, [row, *w_and_acc], over_kx)
                return [builder.add(row, tap_row), *w_and_acc]

            def load_from(start, step):
                return [load_vector(builder, place) for place in addresses(builder, tile, start, step)]

            def add_bias(acc):
                biases = [load_vector(builder, place) for place in along(builder, bias, tile.vectors)]
                return [builder.fadd(value, biases[k % tile.vectors]) for k, value in enumerate(acc)]

            def clamp(low, high):
                return lambda acc: [clamp_vector(builder, value, low, high) for value in acc]

            def add_image(acc):
                return [builder.fadd(a, b) for a, b in zip(acc, load_from(addend, addend_step), strict=True)]

            acc = [ir.Constant(VECTOR, [0.0] * LANES)] * tile.size
            acc = choose(builder, asked(Flag.CONTINUE), acc, lambda _: load_from(y, y_step))
            _, _, *acc = repeat(builder, kh, [x, w, *acc], over_ky)
            acc = choose(builder, asked(Flag.BIAS), acc, add_bias)
            acc = choose(builder, asked(Flag.RELU), acc, clamp(0.0, float("inf")))
            acc = choose(builder, asked(Flag.RELU6), acc, clamp(0.0, 6.0))
            acc = choose(builder, asked(Flag.ADD), acc, add_image)
            for value, place in zip(acc, addresses(builder, tile, y, y_step), strict=True):
                store_vector(builder, value, place)
            return context.get_dummy_value()

        return types.void(rows, vectors, arguments), generate

    return convolve


def make_any_tile(fused: bool):
    """One function that convolves a tile of any shape: rows x vectors is at most REGISTERS.

    arguments: x, x_step, w, channels, kh, kw, tap_row, tap_col, y, y_step, flags, bias, addend, addend_step
    """
    convolve = make_convolve(fused)

    @inlined
    def any_tile(rows, vectors, arguments):
        if vectors == 2:
            if rows == 6:
                convolve(6, 2, arguments)
            elif rows == 5:
                convolve(5, 2, arguments)
            elif rows == 4:
                convolve(4, 2, arguments)
            elif rows == 3:
                convolve(3, 2, arguments)
            elif rows == 2:
                convolve(2, 2, arguments)
            else:
                convolve(1, 2, arguments)
        elif vectors == 3:
            if rows == 4:
                convolve(4, 3, arguments)
            elif rows == 3:
                convolve(3, 3, arguments)
            elif rows == 2:
                convolve(2, 3, arguments)
            else:
                convolve(1, 3, arguments)
        elif rows >= 10:
            if rows == 12:
                convolve(12, 1, arguments)
            elif rows == 11:
                convolve(11, 1, arguments)
            else:
                convolve(10, 1, arguments)
        elif rows >= 7:
            if rows == 9:
                convolve(9, 1, arguments)
            elif rows == 8:
                convolve(8, 1, arguments)
            else:
                convolve(7, 1, arguments)
        elif rows >= 4:
            if rows == 6:
                convolve(6, 1, arguments)
            elif rows == 5:
                convolve(5, 1, arguments)
            else:
                convolve(4, 1, arguments)
        elif rows == 3:
            convolve(3, 1, arguments)
        elif rows == 2:
            convolve(2, 1, arguments)
        else:
            convolve(1, 1, arguments)

    return any_tile


def make_row(fused: bool):
    """The convolution of `count` neighbouring positions of one row, all output channels."""
    any_tile = make_any_tile(fused)

    @inlined
    def row(count, vectors, x, x_step, w, channels, kh, kw, tap_row, tap_col, y, y_step, flags, bias, addend,
            addend_step):
        done = 0
        while done < vectors:
            block = block_vectors(vectors - done)
            most = REGISTERS // block
            tiles = (count + most - 1) // most
            least = count // tiles
            larger = count - least * tiles
            at = 0
            for number in range(tiles):
                rows = least + 1 if number < larger else least
                any_tile(
                    rows, block,
                    (x + at * x_step, x_step, w, channels, kh, kw, tap_row, tap_col,
                     y + at * y_step, y_step, flags, bias, addend + at * addend_step, addend_step),
                )
                at += rows
            done += block
            w += kh * kw * channels * VECTOR_BYTES * block
            y += VECTOR_BYTES * block
            bias += VECTOR_BYTES * block
            addend += VECTOR_BYTES * block

    return row


def make_depthwise_row(fused: bool):
    """The depthwise convolution of `count` neighbouring positions of one row, all channels."""
    elementwise = make_elementwise(fused)

    def make_depthwise_tile(rows: int):
        @inlined
        def tile(x, x_step, w, w_step, kh, kw, tap_row, tap_col, y, y_step):
            acc = zeros(rows, 1)
            for ky in range(kh):
                at = x + ky * tap_row
                for _ in range(kw):
                    acc = elementwise(acc, at, x_step, w)
                    at += tap_col
                    w += w_step
            store(acc, y, y_step)

        return tile

    many, one = make_depthwise_tile(DEPTHWISE_ROWS), make_depthwise_tile(1)

    @inlined
    def depthwise_row(count, vectors, x, x_step, w, kh, kw, tap_row, tap_col, y, y_step):
        w_step = VECTOR_BYTES * vectors
        for _ in range(vectors):
            at = 0
            if count < DEPTHWISE_ROWS:
                while at < count:
                    one(x + at * x_step, x_step, w, w_step, kh, kw, tap_row, tap_col, y + at * y_step, y_step)
                    at += 1
            while at < count:
                at = min(at, count - DEPTHWISE_ROWS)  # the last tile reaches back: it writes the same values again
                many(x + at * x_step, x_step, w, w_step, kh, kw, tap_row, tap_col, y + at * y_step, y_step)
                at += DEPTHWISE_ROWS
            x += VECTOR_BYTES
            w += VECTOR_BYTES
            y += VECTOR_BYTES

    return depthwise_row


def make_convolution(fused: bool):
    """The convolution instructions in one arithmetic."""
    row, depthwise_row = make_row(fused), make_depthwise_row(fused)

    @inlined
    def convolve(p, arena, constants, scratch, first, last, left, right):
        """Rows first ... last-1 and positions left ... right-1 of the output image of instruction p.

        A separable one goes along each row in pieces that fit the scratch: the depthwise half into the scratch, then
        the 1x1 half from it. Both kinds end in the same call, so that the tiles are compiled once.
        """
        op, channels = p[Field.OP], p[Field.CHANNELS]
        x_step, y_step, addend_step = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.ADDEND_COL]
        between = (channels + LANES - 1) // LANES
        piece = 4 * p[Field.SCRATCH_SIZE] // (VECTOR_BYTES * between) if op == SEPARABLE else right - left
        for i in range(first, last):
            at = left
            while at < right:
                count = min(piece, right - at)
                x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + p[Field.START]) + at * x_step
                y = arena + 4 * (p[Field.Y] + i * p[Field.Y_ROW]) + at * y_step
                addend = arena + 4 * (p[Field.ADDEND] + i * p[Field.ADDEND_ROW]) + at * addend_step
                step, kh, kw = x_step, p[Field.KH], p[Field.KW]
                if op != CONV:
                    to, to_step = (scratch, VECTOR_BYTES * between) if op == SEPARABLE else (y, y_step)
                    depthwise_row(count, between, x, x_step, constants + 4 * p[Field.DEPTHWISE_WEIGHTS], kh, kw,
                                  4 * p[Field.TAP_ROW], 4 * p[Field.TAP_COL], to, to_step)
                    x, step, kh, kw = to, to_step, 1, 1
                if op != DEPTHWISE:
                    row(count, p[Field.VECTORS], x, step, constants + 4 * p[Field.WEIGHTS], channels, kh, kw,
                        4 * p[Field.TAP_ROW], 4 * p[Field.TAP_COL], y, y_step, p[Field.FLAGS],
                        constants + 4 * p[Field.BIAS], addend, addend_step)
                at += count

    return convolve
