"""Kernels that look around, a row at a time: pooling, upsampling, layer norm over a sample."""

from __future__ import annotations

import numpy as np

from npunet.engine.emit import VECTOR_BYTES
from npunet.engine.jit import jit
from npunet.engine.simd import LANES, rolled, stand_alone
from npunet.engine.training.activations import activate
from npunet.engine.training.opcodes import Field
from npunet.engine.training.rows import X, Y, Z, fill, place
from npunet.engine.training.vectors import (
    load,
    narrow,
    nothing,
    read,
    same,
    store,
    where_beats,
    where_equal,
    wide_root,
    wide_same,
    widen,
    write,
)

ZERO, ONE = np.float32(0), np.float32(1)


@jit
def max_pool(p, arena, n, i):
    """y: the largest value of each window; z: the number of the tap that holds it, the first on a tie or of NaNs."""
    stand_alone()
    kw, stride_x, x_width = p[Field.KW], p[Field.STRIDE_X], p[Field.X_WIDTH]
    x_col, y_col, z_col = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.Z_COL]
    top = i * p[Field.STRIDE_Y] - p[Field.PAD_TOP]
    above, below = max(top, 0), min(top + p[Field.KH], p[Field.X_HEIGHT])
    for v in range(p[Field.VECTORS]):
        y, z = place(p, arena, Y, n, i) + VECTOR_BYTES * v, place(p, arena, Z, n, i) + VECTOR_BYTES * v
        row_x = place(p, arena, X, n, above) + VECTOR_BYTES * v
        start = -p[Field.PAD_LEFT]
        for _ in range(p[Field.WIDTH]):
            before, after = max(start, 0), min(start + kw, x_width)
            at = row_x + before * x_col
            number = np.float32((above - top) * kw + before - start)
            best, winner = load(at), same(number)
            for _ in range(above, below):
                tap_at, tap_number = at, number
                for _ in range(before, after):
                    rolled()
                    tap = load(tap_at)
                    winner = where_beats(tap, best, same(tap_number), winner)
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


@jit
def max_pool_dx(p, arena, n, i):
    """y: what row i of the pool's input gets from gradient x, where z names it the winner; windows in order."""
    stand_alone()
    kw, stride_y, stride_x = p[Field.KW], p[Field.STRIDE_Y], p[Field.STRIDE_X]
    x_col, y_col, z_col = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.Z_COL]
    vectors, width = p[Field.VECTORS], p[Field.WIDTH]
    row_y = place(p, arena, Y, n, i)
    for j in range(width):
        fill(row_y + j * y_col, vectors)
    down = i + p[Field.PAD_TOP]
    first, last = max((down - p[Field.KH]) // stride_y + 1, 0), min(down // stride_y + 1, p[Field.X_HEIGHT])
    for row in range(first, last):
        for v in range(vectors):
            x, z = place(p, arena, X, n, row) + VECTOR_BYTES * v, place(p, arena, Z, n, row) + VECTOR_BYTES * v
            for kx in range(kw):
                number = same(np.float32((down - row * stride_y) * kw + kx))
                # windows whose tap kx lies inside the row
                left = max(0, (p[Field.PAD_LEFT] - kx + stride_x - 1) // stride_x)
                right = min(p[Field.X_WIDTH], (width - 1 + p[Field.PAD_LEFT] - kx) // stride_x + 1)
                y = row_y + (left * stride_x + kx - p[Field.PAD_LEFT]) * y_col + VECTOR_BYTES * v
                for col in range(left, right):
                    rolled()
                    share = where_equal(load(z + col * z_col), number, load(x + col * x_col), same(ZERO))
                    store(load(y) + share, y)
                    y += stride_x * y_col


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


@jit
def upsample_dx(p, arena, n, i):
    """y: every position the sum of its KH x KW copies in x, row by row from +0."""
    stand_alone()
    kh, kw, x_col, y_col = p[Field.KH], p[Field.KW], 4 * p[Field.X_COL], 4 * p[Field.Y_COL]
    for v in range(p[Field.VECTORS]):
        for ky in range(kh):
            for kx in range(kw):
                x = place(p, arena, X, n, i * kh + ky) + kx * x_col + VECTOR_BYTES * v
                y = place(p, arena, Y, n, i) + VECTOR_BYTES * v
                first = ky + kx == 0
                for _ in range(p[Field.WIDTH]):
                    rolled()
                    store(load(x) + (same(ZERO) if first else load(y)), y)
                    x += kw * x_col
                    y += y_col


@jit
def statistics_at(p, arena, n, v):
    """Where a layer norm keeps mean and inv of sample n, vector v."""
    return arena + 4 * (p[Field.NORM] + n * 2 * p[Field.VECTORS] * LANES) + VECTOR_BYTES * v


@jit
def layer_norm(p, arena, params, n, eps):
    """y = activation((x - mean) * (inv * gamma) + beta) for a whole sample; see ops.norm.layer_norm_forward."""
    stand_alone()
    height, width, step = p[Field.HEIGHT], p[Field.WIDTH], 4 * p[Field.X_COL]
    terms, kind = wide_same(float(height * width)), p[Field.KIND]
    for v in range(p[Field.VECTORS]):
        total = nothing()
        for i in range(height):
            x = place(p, arena, X, n, i) + VECTOR_BYTES * v
            for j in range(width):
                total = total + widen(load(x + j * step))
        mean = total / terms
        total = nothing()
        for i in range(height):
            x = place(p, arena, X, n, i) + VECTOR_BYTES * v
            for j in range(width):
                off = widen(load(x + j * step)) - mean
                total = total + off * off
        inv = narrow(wide_same(1.0) / wide_root(total / terms + wide_same(eps)))
        middle = narrow(mean)
        kept = statistics_at(p, arena, n, v)
        store(middle, kept)
        store(inv, kept + VECTOR_BYTES * p[Field.VECTORS])
        for i in range(height):
            x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
            for j in range(width):
                gamma = same(read(params + 4 * (p[Field.PARAM] + i * width + j)))
                beta = same(read(params + 4 * (p[Field.PARAM_2] + i * width + j)))
                value = (load(x + j * step) - middle) * (inv * gamma) + beta
                store(activate(value, kind), y + 4 * j * p[Field.Y_COL])


@jit
def layer_norm_dx(p, arena, params, n):
    """y = inv * (dh - mean of dh - h * mean of dh * h), dh = gradient x * gamma, h = (z - mean) * inv; whole sample."""
    stand_alone()
    height, width = p[Field.HEIGHT], p[Field.WIDTH]
    terms = wide_same(float(height * width))
    for v in range(p[Field.VECTORS]):
        kept = statistics_at(p, arena, n, v)
        mean, inv = load(kept), load(kept + VECTOR_BYTES * p[Field.VECTORS])
        total, products = nothing(), nothing()
        for i in range(height):
            x, z = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Z, n, i) + VECTOR_BYTES * v
            for j in range(width):
                h = (load(z + 4 * j * p[Field.Z_COL]) - mean) * inv
                dh = load(x + 4 * j * p[Field.X_COL]) * same(read(params + 4 * (p[Field.PARAM] + i * width + j)))
                total = total + widen(dh)
                products = products + widen(dh * h)
        offset, slope = narrow(total / terms), narrow(products / terms)
        for i in range(height):
            x, z = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Z, n, i) + VECTOR_BYTES * v
            y = place(p, arena, Y, n, i) + VECTOR_BYTES * v
            for j in range(width):
                h = (load(z + 4 * j * p[Field.Z_COL]) - mean) * inv
                dh = load(x + 4 * j * p[Field.X_COL]) * same(read(params + 4 * (p[Field.PARAM] + i * width + j)))
                store(inv * ((dh - offset) - h * slope), y + 4 * j * p[Field.Y_COL])


@jit
def layer_norm_dw(p, arena, gradients, samples):
    """dgamma = sum of x * h and dbeta = sum of x over samples and channels, in float64 in that order."""
    stand_alone()
    width, channels = p[Field.WIDTH], p[Field.CHANNELS]
    for i in range(p[Field.HEIGHT]):
        for j in range(width):
            dgamma, dbeta = 0.0, 0.0
            for n in range(samples):
                x = place(p, arena, X, n, i) + 4 * j * p[Field.X_COL]
                z = place(p, arena, Z, n, i) + 4 * j * p[Field.Z_COL]
                kept = statistics_at(p, arena, n, 0)
                for c in range(channels):
                    mean, inv = read(kept + 4 * c), read(kept + 4 * c + VECTOR_BYTES * p[Field.VECTORS])
                    d = read(x + 4 * c)
                    dgamma += float(d * ((read(z + 4 * c) - mean) * inv))
                    dbeta += float(d)
            write(np.float32(dgamma), gradients + 4 * (p[Field.PARAM] + i * width + j))
            write(np.float32(dbeta), gradients + 4 * (p[Field.PARAM_2] + i * width + j))
