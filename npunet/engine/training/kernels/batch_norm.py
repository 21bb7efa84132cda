"""Batch norm with its activation, forward and backward, a row at a time; sums as in rows.py.

Every kernel goes down a row once for each register of channels: a vector, or, where a register holds one, a pair.
"""

from __future__ import annotations

from npunet.engine.codegen.emit import PAIRS, VECTOR_BYTES
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import rolled, stand_alone
from npunet.engine.codegen.vectors import (
    fma,
    load,
    load_pair,
    load_wide,
    load_wide_pair,
    nothing,
    nothing_pair,
    same_as,
    store,
    store_wide,
    where_greater,
    widen,
)
from npunet.engine.target import LANES
from npunet.engine.training.kernels.activation_rows import ZERO, activate, bounded, bounds, through
from npunet.engine.training.kernels.rows import U, X, Y, Z, opens_chunk, place, slot
from npunet.engine.training.plan.step_opcodes import Field

ONE, PAIR = (load, load_wide, nothing), (load_pair, load_wide_pair, nothing_pair)


@inlined
def constant(p, arena, row, v):
    """Address of vector v of a row of the norm's constants."""
    return arena + 4 * (p[Field.NORM] + row * p[Field.VECTORS] * LANES) + VECTOR_BYTES * v


@inlined
def clamped(value, low, high):
    """min(max(value, low), high); NaN stays NaN."""
    value = where_greater(low, value, low, value)
    return where_greater(value, high, high, value)


@inlined
def passed(x, u, inv, shift, low, high):
    """The gradient x where the activation, of the input u * inv + shift, passes it on; else 0."""
    before, zero = u * inv + shift, same_as(x, ZERO)
    return where_greater(before, low, where_greater(high, before, x, zero), zero)


def make_statistics(load, load_wide, nothing):
    @inlined
    def statistics_of(p, arena, sums, n, i, v):
        x_step, width, fresh = 4 * p[Field.X_COL], p[Field.WIDTH], opens_chunk(p, i)
        at = slot(p, sums, n, i) + 8 * LANES * v
        squares_at = at + 8 * LANES * p[Field.VECTORS]
        total = nothing() if fresh else load_wide(at)
        squares = nothing() if fresh else load_wide(squares_at)
        x = place(p, arena, X, n, i) + VECTOR_BYTES * v
        for _ in range(width // 2):
            rolled()
            value, other = widen(load(x)), widen(load(x + x_step))
            total = (total + value) + other
            squares = (squares + value * value) + other * other
            x += 2 * x_step
        if width % 2:
            value = widen(load(x))
            total = total + value
            squares = squares + value * value
        store_wide(total, at)
        store_wide(squares, squares_at)

    return statistics_of


def make_normalise(load, load_wide, nothing):
    @inlined
    def normalise_of(p, arena, n, i, v):
        x_step, y_step, width = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], p[Field.WIDTH]
        inv, shift = load(constant(p, arena, 2, v)), load(constant(p, arena, 3, v))
        least, most = bounds(p[Field.KIND])
        low, high = same_as(inv, least), same_as(inv, most)
        x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
        for _ in range(width // 2):
            rolled()
            value, other = load(x) * inv + shift, load(x + x_step) * inv + shift
            store(clamped(value, low, high), y)
            store(clamped(other, low, high), y + y_step)
            x += 2 * x_step
            y += 2 * y_step
        if width % 2:
            store(clamped(load(x) * inv + shift, low, high), y)

    return normalise_of


def make_norm_sums(load, load_wide, nothing):
    @inlined
    def norm_sums_of(p, arena, sums, n, i, v):
        x_step, u_step, width, fresh = 4 * p[Field.X_COL], 4 * p[Field.U_COL], p[Field.WIDTH], opens_chunk(p, i)
        mean, r = load(constant(p, arena, 0, v)), load(constant(p, arena, 1, v))
        inv, shift = load(constant(p, arena, 2, v)), load(constant(p, arena, 3, v))
        least, most = bounds(p[Field.KIND])
        low, high = same_as(inv, least), same_as(inv, most)
        at = slot(p, sums, n, i) + 8 * LANES * v
        products_at = at + 8 * LANES * p[Field.VECTORS]
        total = nothing() if fresh else load_wide(at)
        products = nothing() if fresh else load_wide(products_at)
        x, u = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, U, n, i) + VECTOR_BYTES * v
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
        store_wide(total, at)
        store_wide(products, products_at)

    return norm_sums_of


def make_norm_dx(load, load_wide, nothing):
    @inlined
    def norm_dx_of(p, arena, n, i, v):
        x_step, y_step, u_step, width = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.U_COL], p[Field.WIDTH]
        mean = load(constant(p, arena, 0, v))
        inv, shift = load(constant(p, arena, 2, v)), load(constant(p, arena, 3, v))
        scale, offset = load(constant(p, arena, 4, v)), load(constant(p, arena, 5, v))
        slope = load(constant(p, arena, 6, v))
        least, most = bounds(p[Field.KIND])
        low, high = same_as(inv, least), same_as(inv, most)
        x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
        u = place(p, arena, U, n, i) + VECTOR_BYTES * v
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

    return norm_dx_of


statistics_of, statistics_of_pair = make_statistics(*ONE), make_statistics(*PAIR)
normalise_of, normalise_of_pair = make_normalise(*ONE), make_normalise(*PAIR)
norm_sums_of, norm_sums_of_pair = make_norm_sums(*ONE), make_norm_sums(*PAIR)
norm_dx_of, norm_dx_of_pair = make_norm_dx(*ONE), make_norm_dx(*PAIR)


@jit
def statistics(p, arena, sums, n, i):
    """Add a row's sums of x and of x * x, both exact products in float64, to the chunk's: two rows of channels."""
    stand_alone()
    v = 0
    while PAIRS and v + 2 <= p[Field.VECTORS]:
        statistics_of_pair(p, arena, sums, n, i, v)
        v += 2
    while v < p[Field.VECTORS]:
        statistics_of(p, arena, sums, n, i, v)
        v += 1


@jit
def normalise(p, arena, n, i):
    """y = activation(x * inv + shift)."""
    stand_alone()
    v, kind = 0, p[Field.KIND]
    while PAIRS and bounded(kind) and v + 2 <= p[Field.VECTORS]:
        normalise_of_pair(p, arena, n, i, v)
        v += 2
    while v < p[Field.VECTORS]:
        if bounded(kind):
            normalise_of(p, arena, n, i, v)
        else:
            inv, shift = load(constant(p, arena, 2, v)), load(constant(p, arena, 3, v))
            x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
            for _ in range(p[Field.WIDTH]):
                rolled()
                store(activate(load(x) * inv + shift, kind), y)
                x += 4 * p[Field.X_COL]
                y += 4 * p[Field.Y_COL]
        v += 1


@jit
def norm_sums(p, arena, sums, n, i):
    """Add a row's sums of g and of g * h to the chunk's: pairs of positions in float32, everything else in float64.

    g : gradient x times the activation's slope, told from its input u * inv + shift where bounds say all, else from
        its output z
    h : (u - mean) * r, u the norm's input
    """
    stand_alone()
    v, kind = 0, p[Field.KIND]
    while PAIRS and bounded(kind) and v + 2 <= p[Field.VECTORS]:
        norm_sums_of_pair(p, arena, sums, n, i, v)
        v += 2
    while v < p[Field.VECTORS]:
        if bounded(kind):
            norm_sums_of(p, arena, sums, n, i, v)
        else:
            bent_norm_sums(p, arena, sums, n, i, v)
        v += 1


@inlined
def bent_norm_sums(p, arena, sums, n, i, v):
    """Of one vector, the slope told from the output."""
    mean, r = load(constant(p, arena, 0, v)), load(constant(p, arena, 1, v))
    at, fresh = slot(p, sums, n, i) + 8 * LANES * v, opens_chunk(p, i)
    products_at = at + 8 * LANES * p[Field.VECTORS]
    total = nothing() if fresh else load_wide(at)
    products = nothing() if fresh else load_wide(products_at)
    x, z = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Z, n, i) + VECTOR_BYTES * v
    u = place(p, arena, U, n, i) + VECTOR_BYTES * v
    for _ in range(p[Field.WIDTH]):
        rolled()
        g = through(load(x), load(z), p[Field.KIND])
        total = total + widen(g)
        products = products + widen(g * ((load(u) - mean) * r))
        x += 4 * p[Field.X_COL]
        z += 4 * p[Field.Z_COL]
        u += 4 * p[Field.U_COL]
    store_wide(total, at)
    store_wide(products, products_at)


@jit
def norm_dx(p, arena, n, i):
    """y = gamma * r * (g - dbeta / n - h * dgamma / n), g and h as for norm_sums; y may be x.

    Done as fma(u - mean, -gamma * r * r * dgamma / n, fma(g, gamma * r, -gamma * r * dbeta / n)).
    """
    stand_alone()
    v, kind = 0, p[Field.KIND]
    while PAIRS and bounded(kind) and v + 2 <= p[Field.VECTORS]:
        norm_dx_of_pair(p, arena, n, i, v)
        v += 2
    while v < p[Field.VECTORS]:
        if bounded(kind):
            norm_dx_of(p, arena, n, i, v)
        else:
            bent_norm_dx(p, arena, n, i, v)
        v += 1


@inlined
def bent_norm_dx(p, arena, n, i, v):
    """Of one vector, the slope told from the output."""
    mean, scale = load(constant(p, arena, 0, v)), load(constant(p, arena, 4, v))
    offset, slope = load(constant(p, arena, 5, v)), load(constant(p, arena, 6, v))
    x, y = place(p, arena, X, n, i) + VECTOR_BYTES * v, place(p, arena, Y, n, i) + VECTOR_BYTES * v
    z, u = place(p, arena, Z, n, i) + VECTOR_BYTES * v, place(p, arena, U, n, i) + VECTOR_BYTES * v
    for _ in range(p[Field.WIDTH]):
        rolled()
        g = through(load(x), load(z), p[Field.KIND])
        store(fma(load(u) - mean, slope, fma(g, scale, offset)), y)
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]
        z += 4 * p[Field.Z_COL]
        u += 4 * p[Field.U_COL]
