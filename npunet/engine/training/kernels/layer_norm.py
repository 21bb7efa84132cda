"""Layer norm over height and width, forward and backward, a sample at a time."""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.emit import VECTOR_BYTES
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import (
    load,
    nothing,
    read,
    same,
    store,
    to_float32,
    wide_root,
    wide_same,
    widen,
    write,
)
from npunet.engine.kernels.pointwise import float_of
from npunet.engine.target import LANES
from npunet.engine.training.kernels.activation_rows import activate
from npunet.engine.training.kernels.rows import X, Y, Z, place
from npunet.engine.training.plan.step_opcodes import Field


@jit
def statistics_at(p, arena, n, v):
    """Where a layer norm keeps mean and inv of sample n, vector v."""
    return arena + 4 * (p[Field.NORM] + n * 2 * p[Field.VECTORS] * LANES) + VECTOR_BYTES * v


@jit
def layer_norm(p, arena, params, n):
    """y = activation((x - mean) * (inv * gamma) + beta) for a whole sample; see ops.norm.layer_norm_forward."""
    stand_alone()
    height, width, step = p[Field.HEIGHT], p[Field.WIDTH], 4 * p[Field.X_COL]
    terms, kind, eps = wide_same(float(height * width)), p[Field.KIND], wide_same(float_of(p[Field.EPS]))
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
        inv = to_float32(wide_same(1.0) / wide_root(total / terms + eps))
        middle = to_float32(mean)
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
        offset, slope = to_float32(total / terms), to_float32(products / terms)
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
