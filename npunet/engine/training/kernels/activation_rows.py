"""Activations and their slopes, a vector and a row at a time."""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.emit import VECTOR_BYTES
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import load, same, store, times_power_of_two, where_greater
from npunet.engine.kernels.pointwise import C0, C1, C2, C3, C4, C5, LN2_HI, LN2_LO, LOG2E, LOWEST, NOT_A_NUMBER
from npunet.engine.plan.opcodes import ACTIVATION_KINDS
from npunet.engine.training.kernels.rows import ZERO, X, Y, Z, place
from npunet.engine.training.plan.step_opcodes import BOUNDED, LINEAR, Field
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

RELU6, RELU, LEAKY, ELU, SELU = (ACTIVATION_KINDS[name] for name in ("relu6", "relu", "leaky_relu", "elu", "selu"))
SLOPE, SCALE, SCALE_ALPHA = (np.float32(value) for value in (LEAKY_SLOPE, SELU_SCALE, SELU_SCALE * SELU_ALPHA))
ONE, SIX, INFINITY = (np.float32(value) for value in (1, 6, np.inf))
ROUNDING = np.float32(1.5 * 2**23)  # added and taken off again: rint for magnitudes below 2^22


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
    if kind == SELU:
        return where_greater(x, zero, same(SCALE) * x, same(SCALE_ALPHA) * bent)
    return same(NOT_A_NUMBER)  # no activation has this number


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
    if kind == SELU:
        return where_greater(zero, y, (y + same(SCALE_ALPHA)) * d, same(SCALE) * d)
    return same(NOT_A_NUMBER)


@jit
def bounds(kind):
    """Between which values a ReLU or a linear unit passes its input on."""
    return -INFINITY if kind == LINEAR else ZERO, SIX if kind == RELU6 else INFINITY


@jit
def bounded(kind):
    """Whether bounds say all about an activation."""
    return kind in BOUNDED


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
