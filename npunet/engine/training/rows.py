"""Kernels that do one row of one sample of one tensor: copies, norms, activations, and the sums that they need.

Sums run in float64 over the positions of a row, then over the rows of a strip (accumulated in place in the strip's
slot); strips are put together in order by sums.py. A strip is fixed by the shape of the batch, not by the threads.
"""

from __future__ import annotations

import numpy as np

from npunet.engine.jit import inlined, jit
from npunet.engine.opcodes import ACTIVATION_KINDS
from npunet.engine.pointwise import C0, C1, C2, C3, C4, C5, LN2_HI, LN2_LO, LOG2E, LOWEST
from npunet.engine.simd import LANES, VECTOR_BYTES, stand_alone
from npunet.engine.training.opcodes import LINEAR, Field
from npunet.engine.training.vectors import (
    fma,
    load,
    load_wide,
    nothing,
    read,
    rolled,
    same,
    store,
    store_wide,
    times_power_of_two,
    where_greater,
    widen,
    write,
)
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

X, Y, Z, U = int(Field.X), int(Field.Y), int(Field.Z), int(Field.U)
RELU6, RELU, LEAKY, ELU, SELU = (ACTIVATION_KINDS[name] for name in ("relu6", "relu", "leaky_relu", "elu", "selu"))
SLOPE, SCALE, SCALE_ALPHA = (np.float32(value) for value in (LEAKY_SLOPE, SELU_SCALE, SELU_SCALE * SELU_ALPHA))
ZERO, ONE, SIX, INFINITY = (np.float32(value) for value in (0, 1, 6, np.inf))
ROUNDING = np.float32(1.5 * 2**23)  # added and taken off again: rint for magnitudes below 2^22


@jit
def place(p, arena, field, n, i):
    """Address of row i of sample n of the tensor described from column `field` on."""
    return arena + 4 * (p[field] + n * p[field + 1] + i * p[field + 2])


@jit
def slot(p, sums, n, i):
    """Address of the sums of the strip that holds row i of sample n."""
    return sums + 8 * (p[Field.SUMS] + (n * p[Field.STRIPS] + i // p[Field.STRIP_ROWS]) * p[Field.SUMS_SIZE])


@jit
def opens_strip(p, i):
    """Whether row i is the first of its strip."""
    return i % p[Field.STRIP_ROWS] == 0


@jit
def fill(at, vectors):
    """Zero `vectors` neighbouring vectors."""
    zero = same(ZERO)
    for v in range(vectors):
        store(zero, at + VECTOR_BYTES * v)


@jit
def clear_halo(p, arena, n, i):
    """Zero what lies around row i of y, or the rows that it becomes: beside it, above the first and below the last."""
    stand_alone()
    if p[Field.TOP] + p[Field.BOTTOM] + p[Field.LEFT] + p[Field.RIGHT] > 0:
        for row in range(i * p[Field.COPIES_Y], (i + 1) * p[Field.COPIES_Y]):
            clear_around(p, arena, n, row)


@jit
def clear_around(p, arena, n, i):
    left, right, width, height = p[Field.LEFT], p[Field.RIGHT], p[Field.WIDTH], p[Field.HEIGHT]
    vectors = p[Field.Y_COL] // LANES
    row = place(p, arena, Y, n, i)
    start = row - 4 * left * p[Field.Y_COL]
    fill(start, left * vectors)
    fill(row + 4 * width * p[Field.Y_COL], right * vectors)
    if i == 0:
        for above in range(1, p[Field.TOP] + 1):
            fill(start - 4 * above * p[Field.Y_ROW], (left + width + right) * vectors)
    if i == height - 1:
        for below in range(1, p[Field.BOTTOM] + 1):
            fill(start + 4 * below * p[Field.Y_ROW], (left + width + right) * vectors)


@jit
def copy_in(p, arena, samples, n, i):
    """A row of the batch (N, H, W, C), densely packed."""
    stand_alone()
    channels, width = p[Field.CHANNELS], p[Field.WIDTH]
    x = samples + 4 * (n * p[Field.HEIGHT] + i) * width * channels
    y, step = place(p, arena, Y, n, i), 4 * p[Field.Y_COL]
    zero = same(ZERO)
    for _ in range(width):
        store(zero, y + step - VECTOR_BYTES)
        for c in range(channels):
            write(read(x + 4 * c), y + 4 * c)
        x += 4 * channels
        y += step


@jit
def mask_in(p, arena, masks, n, i):
    """y = x * mask, the mask (N, H, W, C) densely packed."""
    stand_alone()
    channels, width = p[Field.CHANNELS], p[Field.WIDTH]
    mask = masks + 4 * (p[Field.MASK] + (n * p[Field.HEIGHT] + i) * width * channels)
    x, y = place(p, arena, X, n, i), place(p, arena, Y, n, i)
    zero = same(ZERO)
    for _ in range(width):
        store(zero, y + 4 * p[Field.Y_COL] - VECTOR_BYTES)
        for c in range(channels):
            write(read(x + 4 * c) * read(mask + 4 * c), y + 4 * c)
        mask += 4 * channels
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]


@inlined
def reduce(x):
    """n and expm1(x - n ln 2); every step is that of ops.exponential."""
    n = (x * same(LOG2E) + same(ROUNDING)) - same(ROUNDING)
    r = (x - n * same(LN2_HI)) - n * same(LN2_LO)
    q = same(C5)
    q = q * r + same(C4)
    q = q * r + same(C3)
    q = q * r + same(C2)
    q = q * r + same(C1)
    q = q * r + same(C0)
    return n, r + (r * r) * q


@inlined
def exponential_inline(x):
    """ops.exponential.exp32, lane by lane, for x <= 0."""
    low = same(LOWEST)
    n, p = reduce(where_greater(low, x, low, x))
    return where_greater(low, x, same(ZERO), times_power_of_two(same(ONE) + p, n))


@jit
def exponential_less_one(x):
    """ops.exponential.expm1_32, lane by lane, for x <= 0."""
    low, one = same(LOWEST), same(ONE)
    n, p = reduce(where_greater(low, x, low, x))
    return where_greater(low, x, same(-ONE), times_power_of_two(p, n) + (times_power_of_two(one, n) - one))


@jit
def activate(x, kind):
    """One vector through the activation."""
    zero = same(ZERO)
    if kind == LINEAR:
        return x
    if kind in (RELU6, RELU):
        most = same(SIX if kind == RELU6 else INFINITY)
        y = where_greater(zero, x, zero, x)
        return where_greater(y, most, most, y)
    if kind == LEAKY:
        return where_greater(x, zero, x, same(SLOPE) * x)
    bent = exponential_less_one(where_greater(x, zero, zero, x))
    if kind == ELU:
        return where_greater(x, zero, x, bent)
    return where_greater(x, zero, same(SCALE) * x, same(SCALE_ALPHA) * bent)


@jit
def through(d, y, kind):
    """d times the activation's slope, told from its output y. Where a ReLU's y is NaN nothing passes, as in NumPy."""
    zero = same(ZERO)
    if kind == LINEAR:
        return d
    if kind in (RELU6, RELU):
        most = same(SIX if kind == RELU6 else INFINITY)
        return where_greater(y, zero, where_greater(most, y, d, zero), zero)
    if kind == LEAKY:
        return where_greater(y, zero, d, same(SLOPE) * d)
    if kind == ELU:
        return where_greater(y, zero, d, (y + same(ONE)) * d)
    return where_greater(zero, y, (y + same(SCALE_ALPHA)) * d, same(SCALE) * d)


@jit
def bounds(kind):
    """Between which values a ReLU or a linear unit passes its input on."""
    low = same(-INFINITY if kind == LINEAR else ZERO)
    return low, same(SIX if kind == RELU6 else INFINITY)


@jit
def bounded(kind):
    """Whether bounds say all about an activation."""
    return kind in (RELU6, RELU, LINEAR)


@jit
def activate_row(p, arena, n, i):
    stand_alone()
    x, y, kind = place(p, arena, X, n, i), place(p, arena, Y, n, i), p[Field.KIND]
    for _ in range(p[Field.WIDTH]):
        for v in range(p[Field.VECTORS]):
            store(activate(load(x + VECTOR_BYTES * v), kind), y + VECTOR_BYTES * v)
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]


@jit
def activate_dx(p, arena, n, i):
    """y = gradient x times the slope told from the output z."""
    stand_alone()
    x, y, z = place(p, arena, X, n, i), place(p, arena, Y, n, i), place(p, arena, Z, n, i)
    kind = p[Field.KIND]
    for _ in range(p[Field.WIDTH]):
        for v in range(p[Field.VECTORS]):
            shift = VECTOR_BYTES * v
            store(through(load(x + shift), load(z + shift), kind), y + shift)
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]
        z += 4 * p[Field.Z_COL]


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


@jit
def bias_sums(p, arena, sums, n, i):
    """Add a row's sums of x to the strip's."""
    stand_alone()
    x_step, fresh = 4 * p[Field.X_COL], opens_strip(p, i)
    for v in range(p[Field.VECTORS]):
        at = slot(p, sums, n, i) + 8 * LANES * v
        total = nothing() if fresh else load_wide(at)
        x = place(p, arena, X, n, i) + VECTOR_BYTES * v
        for _ in range(p[Field.WIDTH]):
            rolled()
            total = total + widen(load(x))
            x += x_step
        store_wide(total, at)
