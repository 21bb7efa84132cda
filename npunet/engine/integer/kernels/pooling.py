"""Max and average pooling of integers; taps outside the image do not take part."""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen import integers as emit
from npunet.engine.codegen.emit import INT64, offset, repeat
from npunet.engine.codegen.integers import INT16
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.integer.kernels.vectors import (
    VECTOR_BYTES,
    larger,
    load_shorts,
    read_short,
    same_shorts,
    smaller,
    store_shorts,
    write_short,
)
from npunet.engine.integer.plan.opcodes import Extra
from npunet.engine.plan.opcodes import Field


@intrinsic(prefer_literal=True)
def largest(typing, taps, arguments):
    """The largest of windows whose taps all lie inside the image, clamped, of one vector of channels.

    taps : of a row, literal;  count : neighbouring windows, `step` bytes apart;  rows : of a window
    """

    def generate(context, builder, signature, values):
        count, x, step, rows, x_row, x_col, y, y_col, low, high = cgutils.unpack_tuple(builder, values[1])
        limits = [emit.splat(builder, builder.trunc(limit, INT16)) for limit in (low, high)]

        def of_row(x):
            best = emit.load(builder, x, INT16)
            for tap in range(1, taps.literal_value):
                best = emit.larger(builder, best, emit.load(builder, offset(builder, x, x_col, tap), INT16))
            return best

        def window(carried):
            x, y = carried

            def next_row(carried):
                row, best = builder.add(carried[0], x_row), carried[1]
                return [row, emit.larger(builder, best, of_row(row))]

            _, best = repeat(builder, builder.sub(rows, INT64(1)), [x, of_row(x)], next_row)
            emit.store(builder, emit.clamp(builder, best, *limits), y)
            return [builder.add(x, step), builder.add(y, y_col)]

        repeat(builder, count, [x, y], window)
        return context.get_dummy_value()

    return types.void(types.literal(taps.literal_value), arguments), generate


@jit
def max_pool(p, arena, first, last, left, right):
    """The largest of each window, clamped: rows first ... last-1, positions left ... right-1 of the output."""
    stand_alone()
    kh, kw, stride_x = p[Field.KH], p[Field.KW], p[Field.STRIDE_X]
    x_row, x_col = 2 * p[Field.X_ROW], 2 * p[Field.X_COL]
    low, high = same_shorts(p[Extra.LOW]), same_shorts(p[Extra.HIGH])
    for i in range(first, last):
        top = i * p[Field.STRIDE_Y] - p[Field.PAD_TOP]
        above, below = max(top, 0), min(top + kh, p[Field.X_HEIGHT])
        rows = arena + 2 * p[Field.X] + above * x_row
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        j = left
        while j < right:
            start = j * stride_x - p[Field.PAD_LEFT]
            before, after = max(start, 0), min(start + kw, p[Field.X_WIDTH])
            step = stride_x * x_col
            inside = min(right, (p[Field.X_WIDTH] - kw + p[Field.PAD_LEFT]) // stride_x + 1) - j
            if start >= 0 and inside > 0 and 2 <= kw <= 3:
                at = rows + start * x_col
                for v in range(p[Field.VECTORS]):
                    arguments = (inside, at + VECTOR_BYTES * v, step, below - above, x_row, x_col, y + VECTOR_BYTES * v,
                                 2 * p[Field.Y_COL], p[Extra.LOW], p[Extra.HIGH])
                    if kw == 2:
                        largest(2, arguments)
                    else:
                        largest(3, arguments)
                j += inside
                y += 2 * inside * p[Field.Y_COL]
                continue
            j += 1
            for v in range(p[Field.VECTORS]):
                row = rows + before * x_col + VECTOR_BYTES * v
                best = load_shorts(row)
                for _ in range(above, below):
                    at = row
                    for _ in range(before, after):
                        best = larger(best, load_shorts(at))
                        at += x_col
                    row += x_row
                store_shorts(smaller(larger(best, low), high), y + VECTOR_BYTES * v)
            y += 2 * p[Field.Y_COL]


@jit
def avg_pool(p, arena, first, last, left, right):
    """The mean of each window, rounded half away from zero, clamped; of values with their zero point."""
    stand_alone()
    kh, kw, stride_x, zero = p[Field.KH], p[Field.KW], p[Field.STRIDE_X], p[Extra.ZERO]
    x_row, x_col = 2 * p[Field.X_ROW], 2 * p[Field.X_COL]
    for i in range(first, last):
        top = i * p[Field.STRIDE_Y] - p[Field.PAD_TOP]
        above, below = max(top, 0), min(top + kh, p[Field.X_HEIGHT])
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        for j in range(left, right):
            start = j * stride_x - p[Field.PAD_LEFT]
            before, after = max(start, 0), min(start + kw, p[Field.X_WIDTH])
            count = (below - above) * (after - before)
            for c in range(p[Field.CHANNELS]):
                total = zero * count
                for row in range(above, below):
                    for col in range(before, after):
                        total += read_short(arena + 2 * (p[Field.X] + c) + row * x_row + col * x_col)
                mean = (abs(total) + count // 2) // count
                mean = (mean if total > 0 else -mean) - zero
                write_short(min(max(mean, p[Extra.LOW]), p[Extra.HIGH]), y + 2 * c)
            y += 2 * p[Field.Y_COL]
