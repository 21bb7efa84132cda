"""Max pooling and nearest upsampling, forward and backward, a row and a register of channels at a time: a vector, or,
where a register holds one, a pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npunet.engine.codegen.emit import PAIRS, VECTOR_BYTES
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import rolled, stand_alone
from npunet.engine.codegen.vectors import load, load_pair, same_as, store, where_beats, where_equal
from npunet.engine.training.kernels.rows import X, Y, Z, place
from npunet.engine.training.plan.step_opcodes import Field

ZERO, ONE = np.float32(0), np.float32(1)


def of_all_registers(make: Callable[..., Any]):
    """A kernel over all channels of row i of sample n, of what works on the register that begins with vector v."""
    one, pair = make(load), make(load_pair)

    @jit
    def kernel(p, arena, n, i):
        stand_alone()
        v = 0
        while PAIRS and v + 2 <= p[Field.VECTORS]:
            pair(p, arena, n, i, v)
            v += 2
        while v < p[Field.VECTORS]:
            one(p, arena, n, i, v)
            v += 1

    return kernel


def make_max_pool(load):
    """y: the largest value of each window; z: the number of the tap that holds it, the first on a tie or of NaNs."""

    @inlined
    def max_pool_of(p, arena, n, i, v):
        kw, stride_x, x_width = p[Field.KW], p[Field.STRIDE_X], p[Field.X_WIDTH]
        x_col, y_col, z_col = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.Z_COL]
        top, start = i * p[Field.STRIDE_Y] - p[Field.PAD_TOP], -p[Field.PAD_LEFT]
        above, below = max(top, 0), min(top + p[Field.KH], p[Field.X_HEIGHT])
        y, z = place(p, arena, Y, n, i) + VECTOR_BYTES * v, place(p, arena, Z, n, i) + VECTOR_BYTES * v
        row_x = place(p, arena, X, n, above) + VECTOR_BYTES * v
        for _ in range(p[Field.WIDTH]):
            before, after = max(start, 0), min(start + kw, x_width)
            at = row_x + before * x_col
            number = np.float32((above - top) * kw + before - start)
            best = load(at)
            winner = same_as(best, number)
            for _ in range(above, below):
                tap_at, tap_number = at, number
                for _ in range(before, after):
                    rolled()
                    tap = load(tap_at)
                    winner = where_beats(tap, best, same_as(tap, tap_number), winner)
                    best = where_beats(tap, best, tap, best)
                    tap_at += x_col
                    tap_number += ONE
                at += 4 * p[Field.X_ROW]
                number += np.float32(kw)
            store(best, y)
            store(winner, z)
            y += y_col
            z += z_col
            start += stride_x

    return max_pool_of


def make_max_pool_dx(load):
    """y: what row i of the pool's input gets from gradient x, where z names it the winner; windows in order."""

    @inlined
    def max_pool_dx_of(p, arena, n, i, v):
        kw, stride_y, stride_x = p[Field.KW], p[Field.STRIDE_Y], p[Field.STRIDE_X]
        x_col, y_col, z_col, width = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.Z_COL], p[Field.WIDTH]
        row_y = place(p, arena, Y, n, i) + VECTOR_BYTES * v
        zero = same_as(load(row_y), ZERO)
        for j in range(width):
            rolled()
            store(zero, row_y + j * y_col)
        down = i + p[Field.PAD_TOP]
        first, last = max((down - p[Field.KH]) // stride_y + 1, 0), min(down // stride_y + 1, p[Field.X_HEIGHT])
        for row in range(first, last):
            row_x, row_z = place(p, arena, X, n, row) + VECTOR_BYTES * v, place(p, arena, Z, n, row) + VECTOR_BYTES * v
            for kx in range(kw):
                number = same_as(zero, np.float32((down - row * stride_y) * kw + kx))
                # windows whose tap kx lies inside the row
                left = max(0, (p[Field.PAD_LEFT] - kx + stride_x - 1) // stride_x)
                right = min(p[Field.X_WIDTH], (width - 1 + p[Field.PAD_LEFT] - kx) // stride_x + 1)
                x, z = row_x + left * x_col, row_z + left * z_col
                y = row_y + (left * stride_x + kx - p[Field.PAD_LEFT]) * y_col
                for _ in range(left, right):
                    rolled()
                    store(load(y) + where_equal(load(z), number, load(x), zero), y)
                    x += x_col
                    z += z_col
                    y += stride_x * y_col

    return max_pool_dx_of


def make_upsample_dx(load):
    """y: every position the sum of its KH x KW copies in x, row by row from +0."""

    @inlined
    def upsample_dx_of(p, arena, n, i, v):
        kh, kw, x_col, y_col = p[Field.KH], p[Field.KW], 4 * p[Field.X_COL], 4 * p[Field.Y_COL]
        for ky in range(kh):
            for kx in range(kw):
                x = place(p, arena, X, n, i * kh + ky) + kx * x_col + VECTOR_BYTES * v
                y = place(p, arena, Y, n, i) + VECTOR_BYTES * v
                first = ky + kx == 0
                for _ in range(p[Field.WIDTH]):
                    rolled()
                    value = load(x)
                    store(value + (same_as(value, ZERO) if first else load(y)), y)
                    x += kw * x_col
                    y += y_col

    return upsample_dx_of


max_pool, max_pool_dx, upsample_dx = map(of_all_registers, (make_max_pool, make_max_pool_dx, make_upsample_dx))


@jit
def upsample(p, arena, n, i):
    """y: row i // KH of x, every position KW times."""
    stand_alone()
    y, kw = place(p, arena, Y, n, i), p[Field.KW]
    for j in range(p[Field.WIDTH]):
        x = place(p, arena, X, n, i // p[Field.KH]) + 4 * p[Field.X_COL] * (j // kw)
        for v in range(p[Field.VECTORS]):
            store(load(x + VECTOR_BYTES * v), y + VECTOR_BYTES * v)
        y += 4 * p[Field.Y_COL]
