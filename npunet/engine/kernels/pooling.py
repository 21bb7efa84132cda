"""Max pooling: the largest of each window, the first on a tie, NaN wins; taps outside the image do not take part."""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    INT64,
    PAIRS,
    TARGET,
    VECTOR_BYTES,
    at_this_place,
    hidden,
    load_vector,
    offset,
    repeat,
    store_vector,
)
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.plan.opcodes import Field
from npunet.engine.target import LANES

ROWS = 4  # neighbouring windows done together
RUN = 8 * ROWS  # windows of one register of channels before the next register's turn: their input stays in cache


def larger(builder, best, value):
    """The larger, best on a tie; NaN wins, in value before one in best."""
    most = builder.select(builder.fcmp_ordered(">", value, best), value, best)
    if TARGET.whole:  # one instruction, unless LLVM joins it with the next select
        most = at_this_place(builder, most)
    return builder.select(builder.fcmp_unordered("uno", value, value), value, most)


@intrinsic(prefer_literal=True)
def largest(typing, rows, vectors, width, groups, x, x_row, x_col, step, kh, kw, y, y_col):
    """The largest in each of `groups` times `rows` windows of kh x kw, which begin every `step` bytes; of one register
    of channels, `vectors` of them. All counts are at least 1.

    rows, vectors, width : literal; width is kw, or 0 to let kw count, in a loop
    """
    rows, lanes, width = rows.literal_value, LANES * vectors.literal_value, width.literal_value

    def generate(context, builder, signature, arguments):
        _, _, _, groups, x, x_row, x_col, step, kh, kw, y, y_col = arguments

        def tap(starts, kx):
            return [load_vector(builder, offset(builder, start, x_col, kx), lanes) for start in starts]

        def join(best, values):
            return [larger(builder, *both) for both in zip(best, values, strict=True)]

        def of_row(starts):
            best = tap(starts, 0)
            for kx in range(1, width):
                best = join(best, tap(starts, kx))
            if width:
                return best

            def next_tap(carried):
                starts = [builder.add(start, x_col) for start in carried[:rows]]
                return [*starts, *join(carried[rows:], tap(starts, 0))]

            return repeat(builder, builder.sub(kw, INT64(1)), [*starts, *best], next_tap)[rows:]

        def next_row(carried):
            starts = [builder.add(start, x_row) for start in carried[:rows]]
            return [*starts, *join(carried[rows:], of_row(starts))]

        def group(carried):
            x, y = carried
            starts = [hidden(builder, offset(builder, x, step, m)) for m in range(rows)]
            best = repeat(builder, builder.sub(kh, INT64(1)), [*starts, *of_row(starts)], next_row)[rows:]
            for m, value in enumerate(best):
                store_vector(builder, value, offset(builder, y, y_col, m))
            return [offset(builder, x, step, rows), offset(builder, y, y_col, rows)]

        repeat(builder, groups, [x, y], group)
        return context.get_dummy_value()

    return types.void(*map(types.literal, (rows, lanes // LANES, width)), *[types.intp] * 9), generate


def make_run(vectors):
    """Groups of ROWS windows that lie inside the image, of a literal number of vectors."""

    @inlined
    def run(groups, x, x_row, x_col, step, kh, kw, y, y_col):
        if kw == 2:
            largest(ROWS, vectors, 2, groups, x, x_row, x_col, step, kh, kw, y, y_col)
        elif kw == 3:
            largest(ROWS, vectors, 3, groups, x, x_row, x_col, step, kh, kw, y, y_col)
        else:
            largest(ROWS, vectors, 0, groups, x, x_row, x_col, step, kh, kw, y, y_col)

    return run


run, run_pair = make_run(1), make_run(2)


@jit
def max_pool(p, arena, first, last, left, right):
    """Rows first ... last-1, positions left ... right-1 of the output."""
    stand_alone()
    kh, kw, stride_x, bytes_of_position = p[Field.KH], p[Field.KW], p[Field.STRIDE_X], VECTOR_BYTES * p[Field.VECTORS]
    x_row, x_col, y_col = 4 * p[Field.X_ROW], 4 * p[Field.X_COL], 4 * p[Field.Y_COL]
    inner_left = (p[Field.PAD_LEFT] + stride_x - 1) // stride_x  # positions whose windows lie inside the row
    inner_right = min(right, (p[Field.X_WIDTH] + p[Field.PAD_LEFT] - kw) // stride_x + 1)
    for i in range(first, last):
        top = i * p[Field.STRIDE_Y] - p[Field.PAD_TOP]
        above, below = max(top, 0), min(top + kh, p[Field.X_HEIGHT])
        rows = arena + 4 * p[Field.X] + above * x_row
        j = left
        while j < right:
            start, shift = j * stride_x - p[Field.PAD_LEFT], 0
            y = arena + 4 * (p[Field.Y] + i * p[Field.Y_ROW]) + j * y_col
            groups = min(RUN, inner_right - j) // ROWS if inner_left <= j else 0
            if groups > 0:
                at, step = rows + start * x_col, stride_x * x_col
                while PAIRS and shift + 2 * VECTOR_BYTES <= bytes_of_position:
                    run_pair(groups, at + shift, x_row, x_col, step, below - above, kw, y + shift, y_col)
                    shift += 2 * VECTOR_BYTES
                while shift < bytes_of_position:
                    run(groups, at + shift, x_row, x_col, step, below - above, kw, y + shift, y_col)
                    shift += VECTOR_BYTES
                j += groups * ROWS
            else:
                before, after = max(start, 0), min(start + kw, p[Field.X_WIDTH])
                while shift < bytes_of_position:
                    largest(1, 1, 0, 1, rows + before * x_col + shift, x_row, x_col, 0, below - above, after - before,
                            y + shift, 0)
                    shift += VECTOR_BYTES
                j += 1
