"""Batch norm with its activation, forward and backward, a row at a time; sums as in rows.py."""

from __future__ import annotations

from npunet.engine.jit import inlined, jit
from npunet.engine.simd import LANES, VECTOR_BYTES, rolled, stand_alone
from npunet.engine.training.activations import ZERO, activate, bounded, bounds, through
from npunet.engine.training.opcodes import Field
from npunet.engine.training.rows import U, X, Y, Z, opens_strip, place, slot
from npunet.engine.training.vectors import (
    fma,
    load,
    load_wide,
    nothing,
    same,
    store,
    store_wide,
    where_greater,
    widen,
)


@jit
def statistics(p, arena, sums, n, i):
    """Add a row's sums of x and of x * x, both exact products in float64, to the strip's: two rows of channels."""
    stand_alone()
    x_step, vectors = 4 * p[Field.X_COL], p[Field.VECTORS]
    fresh = opens_strip(p, i)
    for v in range(vectors):
        at = slot(p, sums, n, i) + 8 * LANES * v
        squares_at = at + 8 * LANES * vectors
        total = nothing() if fresh else load_wide(at)
        squares = nothing() if fresh else load_wide(squares_at)
        x = place(p, arena, X, n, i) + VECTOR_BYTES * v
        for _ in range(p[Field.WIDTH] // 2):
            rolled()
            value, other = widen(load(x)), widen(load(x + x_step))
            total = (total + value) + other
            squares = (squares + value * value) + other * other
            x += 2 * x_step
        if p[Field.WIDTH] % 2:
            value = widen(load(x))
            total = total + value
            squares = squares + value * value
        store_wide(total, at)
        store_wide(squares, squares_at)


@jit
def constant(p, arena, row, v):
    """Vector v of a row of the norm's constants."""
    return load(arena + 4 * (p[Field.NORM] + row * p[Field.VECTORS] * LANES) + VECTOR_BYTES * v)


@inlined
def clamped(value, low, high):
    """min(max(value, low), high); NaN stays NaN."""
    value = where_greater(low, value, low, value)
    return where_greater(value, high, high, value)


@jit
def normalise(p, arena, n, i):
    """y = activation(x * inv + shift)."""
    stand_alone()
    x_step, y_step, kind, width = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], p[Field.KIND], p[Field.WIDTH]
    low, high = bounds(kind)
    for v in range(p[Field.VECTORS]):
        inv, shift = constant(p, arena, 2, v), constant(p, arena, 3, v)
        x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
        if bounded(kind):
            for _ in range(width // 2):
                rolled()
                value, other = load(x) * inv + shift, load(x + x_step) * inv + shift
                store(clamped(value, low, high), y)
                store(clamped(other, low, high), y + y_step)
                x += 2 * x_step
                y += 2 * y_step
            if width % 2:
                store(clamped(load(x) * inv + shift, low, high), y)
        else:
            for _ in range(p[Field.WIDTH]):
                rolled()
                store(activate(load(x) * inv + shift, kind), y)
                x += x_step
                y += y_step


@inlined
def passed(x, u, inv, shift, low, high):
    """The gradient x where the activation, of the input u * inv + shift, passes it on; else 0."""
    before = u * inv + shift
    return where_greater(before, low, where_greater(high, before, x, same(ZERO)), same(ZERO))


@jit
def norm_sums(p, arena, sums, n, i):
    """Add a row's sums of g and of g * h to the strip's: pairs of positions in float32, everything else in float64.

    g : gradient x times the activation's slope, told from its input u * inv + shift where bounds say all, else from
        its output z
    h : (u - mean) * r, u the norm's input
    """
    stand_alone()
    vectors, kind, width = p[Field.VECTORS], p[Field.KIND], p[Field.WIDTH]
    x_step, z_step, u_step = 4 * p[Field.X_COL], 4 * p[Field.Z_COL], 4 * p[Field.U_COL]
    fresh = opens_strip(p, i)
    low, high = bounds(kind)
    for v in range(vectors):
        mean, r = constant(p, arena, 0, v), constant(p, arena, 1, v)
        inv, shift = constant(p, arena, 2, v), constant(p, arena, 3, v)
        at = slot(p, sums, n, i) + 8 * LANES * v
        products_at = at + 8 * LANES * vectors
        total = nothing() if fresh else load_wide(at)
        products = nothing() if fresh else load_wide(products_at)
        x, z = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Z, n, i) + VECTOR_BYTES * v
        u = place(p, arena, U, n, i) + VECTOR_BYTES * v
        if bounded(kind):
            for _ in range(width // 2):
                rolled()
                first, second = load(u), load(u + u_step)
                g = passed(load(x), first, inv, shift, low, high)
                other = passed(load(x + x_step), second, inv, shift, low, high)
                total = total + widen(g + other)
                products = products + widen(g * ((first - mean) * r) + other * ((second - mean) * r))
                x += 2 * x_step
                u += 2 * u_step
            if width % 2:
                value = load(u)
                g = passed(load(x), value, inv, shift, low, high)
                total = total + widen(g)
                products = products + widen(g * ((value - mean) * r))
        else:
            for _ in range(width):
                rolled()
                g = through(load(x), load(z), kind)
                total = total + widen(g)
                products = products + widen(g * ((load(u) - mean) * r))
                x += x_step
                z += z_step
                u += u_step
        store_wide(total, at)
        store_wide(products, products_at)


@jit
def norm_dx(p, arena, n, i):
    """y = gamma * r * (g - dbeta / n - h * dgamma / n), g and h as for norm_sums; y may be x.

    Done as fma(u - mean, -gamma * r * r * dgamma / n, fma(g, gamma * r, -gamma * r * dbeta / n)).
    """
    stand_alone()
    kind, width = p[Field.KIND], p[Field.WIDTH]
    x_step, y_step, z_step, u_step = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.Z_COL], 4 * p[Field.U_COL]
    low, high = bounds(kind)
    for v in range(p[Field.VECTORS]):
        mean, inv, shift = constant(p, arena, 0, v), constant(p, arena, 2, v), constant(p, arena, 3, v)
        scale, offset, slope = constant(p, arena, 4, v), constant(p, arena, 5, v), constant(p, arena, 6, v)
        x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
        z, u = place(p, arena, Z, n, i) + VECTOR_BYTES * v, place(p, arena, U, n, i) + VECTOR_BYTES * v
        if bounded(kind):
            for _ in range(width // 2):
                rolled()
                first, second = load(u), load(u + u_step)
                g = passed(load(x), first, inv, shift, low, high)
                other = passed(load(x + x_step), second, inv, shift, low, high)
                store(fma(first - mean, slope, fma(g, scale, offset)), y)
                store(fma(second - mean, slope, fma(other, scale, offset)), y + y_step)
                x += 2 * x_step
                y += 2 * y_step
                u += 2 * u_step
            if width % 2:
                value = load(u)
                g = passed(load(x), value, inv, shift, low, high)
                store(fma(value - mean, slope, fma(g, scale, offset)), y)
        else:
            for _ in range(width):
                rolled()
                g = through(load(x), load(z), kind)
                store(fma(load(u) - mean, slope, fma(g, scale, offset)), y)
                x += x_step
                y += y_step
                z += z_step
                u += u_step
