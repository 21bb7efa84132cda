"""Dense 3x3 convolutions of int8 by Winograd's algorithm, exactly: 16 products for 4 outputs instead of 36.

    4 y = A^T [ (2G w (2G)^T) * (B^T x B) ] A

in whole numbers: 2G has no fractions, the transformed inputs (4 * 255 at most) and kernels (9 * 127) fit in 16 bits,
and what 32 bits lose in between they regain, for sums are taken modulo 2^32 and 4 y fits. So the pairwise dot products
of every other convolution serve here, one 1x1 convolution for each of 16 matrices, over tiles of 2 x 2 outputs.
Source: Lavin & Gray 2016, arXiv:1509.09308, F(2x2, 3x3).
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, offset, repeat
from npunet.engine.codegen.integers import INT16, INT32, all_lanes, load, store, vector_of
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.dot_tile import VECTOR_WORDS, block_vectors, pair_row
from npunet.engine.integer.plan.scratch import MATRICES, PATCH, TILE
from npunet.engine.target import LANES


def transformed(builder, a, b, c, d) -> list:
    """B^T of four values: a - c, b + c, c - b, b - d."""
    return [builder.sub(a, c), builder.add(b, c), builder.sub(c, b), builder.sub(b, d)]


def outputs(builder, a, b, c, d) -> list:
    """A^T of four values: a + b + c, b - c - d."""
    return [builder.add(builder.add(a, b), c), builder.sub(builder.sub(b, c), d)]


def make_input_transform(lanes: int):
    """The intrinsic that transforms the inputs of neighbouring tiles, so many channels of them.

    x, x_row, x_col : of the first tile's first input;  y, y_step, matrix : bytes between tiles, between matrices
    """

    @intrinsic
    def transform(typing, arguments):
        def generate(context, builder, signature, values):
            tiles, x, x_row, x_col, y, y_step, matrix = cgutils.unpack_tuple(builder, values[0])
            rows = [offset(builder, x, x_row, r) for r in range(PATCH)]

            def column(places):
                """A column of the patch with its rows transformed."""
                return transformed(builder, *(load(builder, place, INT16, lanes) for place in places))

            def after(places):
                return [builder.add(place, x_col) for place in places]

            first, second = column(rows), column(after(rows))

            def one_tile(carried):
                y, places, first, second = carried[0], carried[1:5], carried[5:9], carried[9:13]
                third, fourth = column(places), column(after(places))
                for r in range(PATCH):
                    for c, value in enumerate(transformed(builder, first[r], second[r], third[r], fourth[r])):
                        store(builder, value, offset(builder, y, matrix, PATCH * r + c))
                return [builder.add(y, y_step), *after(after(places)), *third, *fourth]

            repeat(builder, tiles, [y, *after(after(rows)), *first, *second], one_tile)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return transform


transform_one, transform_two = make_input_transform(LANES), make_input_transform(2 * LANES)


@intrinsic
def output_transform(typing, arguments):
    """The sums of two rows from those of 16 matrices, for one vector of filters: a quarter, and the bias.

    x, matrix : sums, bytes between matrices;  upper, lower : sums of the rows
    """

    def generate(context, builder, signature, values):
        tiles, x, matrix, bias, upper, lower = cgutils.unpack_tuple(builder, values[0])
        bias, two = load(builder, bias, INT32), all_lanes(vector_of(INT32), 2)

        def one_tile(carried):
            x, *rows = carried
            sums = [load(builder, offset(builder, x, matrix, e), INT32) for e in range(MATRICES)]
            columns = [outputs(builder, *sums[c::PATCH]) for c in range(PATCH)]
            for r, row in enumerate(rows):
                for m, value in enumerate(outputs(builder, *(column[r] for column in columns))):
                    value = builder.add(builder.ashr(value, two), bias)
                    store(builder, value, builder.add(row, INT64(VECTOR_WORDS * m)))
            step = INT64(VECTOR_WORDS * TILE)
            return [builder.add(x, INT64(VECTOR_WORDS)), *(builder.add(row, step) for row in rows)]

        repeat(builder, tiles, [x, upper, lower], one_tile)
        return context.get_dummy_value()

    return types.void(arguments), generate


@inlined
def winograd_rows(tiles, room, vectors, x, x_row, x_col, w, pairs, bias, zeros, plane, upper, lower, scratch):
    """The sums of two rows of `tiles` tiles, for all vectors of filters.

    x    : address of the first tile's first input;  room : tiles of a matrix, some of them spare
    w    : kernels, [block of vectors][matrix][pair of channels][vector][lane][2]
    zeros : address of zeros
    upper, lower : sums of the two rows, `plane` bytes from one vector's to the next's
    scratch : for transformed inputs and the sums of matrices
    """
    inputs = (x_col + 2 * LANES - 1) // (2 * LANES)
    matrix, matrix_sums, channel = room * x_col, VECTOR_WORDS * room, 0
    sums = scratch + MATRICES * matrix
    while channel < inputs:
        at = 2 * LANES * channel
        arguments = (tiles, x + at, x_row, x_col, scratch + at, x_col, matrix)
        if channel + 2 <= inputs:
            transform_two(arguments)
            channel += 2
        else:
            transform_one(arguments)
            channel += 1
    done = 0
    while done < vectors:
        block = block_vectors(vectors - done)
        for e in range(MATRICES):
            pair_row(tiles, block, scratch + e * matrix, x_col, w, pairs, 1, 1, 0, 0, zeros,
                     sums + e * block * matrix_sums, matrix_sums, 0)
            w += pairs * VECTOR_WORDS * block
        for v in range(block):
            place = done + v
            output_transform((tiles, sums + v * matrix_sums, block * matrix_sums, bias + VECTOR_WORDS * place,
                              upper + plane * place, lower + plane * place))
        done += block
