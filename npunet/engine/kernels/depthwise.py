"""Depthwise convolution: one row of positions, all channels, each channel's taps in the order ky, kx.

Neighbouring outputs of an undilated kernel read mostly the same positions: for widths 3 and 5 a tile loads each
of them once and keeps a whole kernel row of weights in registers. Other kernels go by one tap after another.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    PAIRS,
    VECTOR_BYTES,
    everywhere,
    load_vector,
    make_multiply_add,
    offset,
    pack,
    repeat,
)
from npunet.engine.codegen.jit import inlined
from npunet.engine.codegen.simd import Tile, fetch, make_elementwise, store, zeros
from npunet.engine.target import FIRST_CACHE

ROWS = 8  # positions of a tile: with five weights and two inputs, fifteen registers
PART_BYTES = FIRST_CACHE // 2  # of the input that all channels' tiles go through together: half of a first-level cache


def make_slide(fused: bool):
    """The intrinsic that sums all taps of `rows` neighbouring positions of one register of channels, `vectors` of them,
    for a literal kernel width and dilation 1.

    `height` is the kernel's, or 0 to let `kh` count, in a loop that costs a tile a third of its time.
    """
    multiply_add = make_multiply_add(fused)

    @intrinsic(prefer_literal=True)
    def slide(typing, rows, vectors, height, kw, x, x_step, w, w_step, kh, tap_row):
        tile, width = Tile(rows.literal_value, vectors.literal_value), kw.literal_value

        def generate(context, builder, signature, arguments):
            _, _, _, _, x, x_step, w, w_step, kh, tap_row = arguments

            def over_ky(carried):
                """acc[m] = acc[m] + x[m + kx] * w[kx], kx ascending for every m."""
                row, w, *acc = carried
                weights = [load_vector(builder, offset(builder, w, w_step, kx), tile.lanes) for kx in range(width)]
                half = tile.rows // 2
                for step in range(half + width - 1):
                    for first in (0, half):  # two fronts in turn: a sum's next term then finds its last one finished
                        value = load_vector(builder, offset(builder, row, x_step, first + step), tile.lanes)
                        for kx in range(max(0, step - half + 1), min(width, step + 1)):
                            m = first + step - kx
                            acc[m] = multiply_add(builder, value, weights[kx], acc[m])
                return [builder.add(row, tap_row), offset(builder, w, w_step, width), *acc]

            acc = [everywhere(0.0, tile.lanes)] * tile.rows
            carried = [x, w, *acc]
            for _ in range(height.literal_value):
                carried = over_ky(carried)
            if height.literal_value == 0:
                carried = repeat(builder, kh, carried, over_ky)
            return pack(builder, carried[2:])

        return tile(rows, vectors, height, kw, *[types.intp] * 6), generate

    return slide


def make_depthwise_row(fused: bool):
    """The depthwise convolution of `count` neighbouring positions of one row, all channels."""
    slide, elementwise = make_slide(fused), make_elementwise(fused)

    @inlined
    def tap_by_tap(acc, x, x_step, w, w_step, kh, kw, tap_row, tap_col):
        for ky in range(kh):
            at = x + ky * tap_row
            for _ in range(kw):
                acc = elementwise(acc, at, x_step, w)
                at += tap_col
                w += w_step
        return acc

    def make_tiles(vectors, height, width):
        """Positions at ... end-1, by kernels of a literal size. The last tile of a row reaches back: it writes the same
        values again."""

        @inlined
        def tiles(at, end, count, x, x_step, w, w_step, kh, tap_row, y, y_step):
            while at < end:
                at = min(at, count - ROWS)
                here = x + at * x_step
                if height != 1:
                    fetch(ROWS, here + kh * tap_row, x_step)  # of a row that nothing has read yet
                sums = slide(ROWS, vectors, height, width, here, x_step, w, w_step, kh, tap_row)
                store(sums, y + at * y_step, y_step)
                at += ROWS

        return tiles

    def make_run(vectors):
        """Positions at ... end-1 of a literal number of vectors; fewer than a tile only where the row is shorter."""
        of_three, of_three_by_three, of_threes = (make_tiles(vectors, height, 3) for height in (1, 3, 0))
        of_five, of_fives = (make_tiles(vectors, height, 5) for height in (1, 0))

        @inlined
        def of_any(rows, at, end, count, x, x_step, w, w_step, kh, kw, tap_row, tap_col, y, y_step):
            while at < end:
                at = min(at, count - rows)
                here = x + at * x_step
                if kh > 1 and rows > 1:
                    fetch(ROWS, here + kh * tap_row, x_step)
                sums = tap_by_tap(zeros(rows, vectors), here, x_step, w, w_step, kh, kw, tap_row, tap_col)
                store(sums, y + at * y_step, y_step)
                at += rows

        @inlined
        def run(at, end, count, x, x_step, w, w_step, kh, kw, tap_row, tap_col, y, y_step):
            dense = tap_col == x_step
            if count < ROWS:
                of_any(1, at, end, count, x, x_step, w, w_step, kh, kw, tap_row, tap_col, y, y_step)
            elif dense and kw == 3 and kh == 1:
                of_three(at, end, count, x, x_step, w, w_step, kh, tap_row, y, y_step)
            elif dense and kw == 3 and kh == 3:
                of_three_by_three(at, end, count, x, x_step, w, w_step, kh, tap_row, y, y_step)
            elif dense and kw == 3:
                of_threes(at, end, count, x, x_step, w, w_step, kh, tap_row, y, y_step)
            elif dense and kw == 5 and kh == 1:
                of_five(at, end, count, x, x_step, w, w_step, kh, tap_row, y, y_step)
            elif dense and kw == 5:
                of_fives(at, end, count, x, x_step, w, w_step, kh, tap_row, y, y_step)
            else:
                of_any(ROWS, at, end, count, x, x_step, w, w_step, kh, kw, tap_row, tap_col, y, y_step)

        return run

    run, run_pair = make_run(1), make_run(2)

    @inlined
    def depthwise_row(count, vectors, x, x_step, w, kh, kw, tap_row, tap_col, y, y_step):
        w_step = VECTOR_BYTES * vectors
        part = max(ROWS, PART_BYTES // (w_step * kh) // ROWS * ROWS)
        for start in range(0, count, part):
            end, column = min(start + part, count), 0
            while PAIRS and column + 2 * VECTOR_BYTES <= w_step:
                run_pair(start, end, count, x + column, x_step, w + column, w_step, kh, kw, tap_row, tap_col,
                         y + column, y_step)
                column += 2 * VECTOR_BYTES
            while column < w_step:
                run(start, end, count, x + column, x_step, w + column, w_step, kh, kw, tap_row, tap_col, y + column,
                    y_step)
                column += VECTOR_BYTES

    return depthwise_row
