"""Max and average pooling of integers; taps outside the image do not take part."""

from __future__ import annotations

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
        for j in range(left, right):
            start = j * stride_x - p[Field.PAD_LEFT]
            before, after = max(start, 0), min(start + kw, p[Field.X_WIDTH])
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
