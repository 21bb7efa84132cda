"""The end of a step: regularisation, clipping, and the optimisers of train.optimise, operation by operation.

Each +, -, *, / and square root is rounded on its own, so that a gradient gives the bits that NumPy gives.
"""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import lane, load, read, root, same, store, where_greater, write
from npunet.engine.target import LANES
from npunet.engine.training.plan.step_opcodes import (
    ADAM,
    CLIP_GLOBAL,
    CLIP_NORM,
    CLIP_VALUE,
    DESCENT,
    NESTEROV,
    Field,
    Number,
)

ZERO, ONE = np.float32(0), np.float32(1)


@jit
def regularise(p, params, gradients, numbers):
    """g = g + (2 * factor) * w; the sum of w^2, in float64 and in order, goes to the instruction's slot."""
    stand_alone()
    double = np.float32(2 * numbers[Number.L2])
    total = 0.0
    w, g = params + 4 * p[Field.PARAM], gradients + 4 * p[Field.PARAM]
    for k in range(p[Field.SIZE]):
        value = read(w + 4 * k)
        total += np.float64(value) * np.float64(value)
        write(read(g + 4 * k) + double * value, g + 4 * k)
    numbers[p[Field.SLOT]] = total


@jit
def total_end(p, numbers):
    """The loss with its regularisation, one float32 addition a kernel; whether it is finite."""
    stand_alone()
    loss = np.float32(numbers[Number.LOSS])
    for k in range(p[Field.SLOT], p[Field.SLOT] + p[Field.SLOTS]):
        loss = loss + np.float32(numbers[Number.L2] * numbers[k])
    numbers[Number.LOSS] = np.float64(loss)
    numbers[Number.FINITE] = 1.0 if np.isfinite(loss) else 0.0


@jit
def squares(p, gradients, numbers):
    """Sum of a gradient's squares, in float64 and in order, to the instruction's slot."""
    stand_alone()
    total = 0.0
    g = gradients + 4 * p[Field.PARAM]
    for k in range(p[Field.SIZE]):
        value = np.float64(read(g + 4 * k))
        total += value * value
    numbers[p[Field.SLOT]] = total


@jit
def clip_end(p, numbers):
    """What all gradients are multiplied by: train.optimise.shrinking of their norm."""
    stand_alone()
    total = 0.0
    for k in range(p[Field.SLOT], p[Field.SLOT] + p[Field.SLOTS]):
        total += numbers[k]
    n, c = np.float32(np.sqrt(total)), np.float32(numbers[Number.CLIP])
    scale = c * (ONE / c if n <= c else ONE / n)
    numbers[Number.CLIP_SCALE] = np.float64(scale) if np.isfinite(n) else np.nan


@jit
def put(value, at, count):
    """Write the first `count` lanes."""
    if count >= LANES:
        store(value, at)
    else:
        for k in range(count):
            write(lane(value, k), at + 4 * k)


@jit
def update(p, params, gradients, state, velocities, numbers):
    """Clip, decay and move one weight; STEP_A says how it is clipped, KIND by which rule it moves."""
    stand_alone()
    if numbers[Number.FINITE] == 0.0:
        return
    kind, clipping = p[Field.KIND], p[Field.STEP_A]
    rate, decay = same(np.float32(numbers[Number.RATE])), same(np.float32(numbers[Number.DECAY]))
    momentum, epsilon = same(np.float32(numbers[Number.MOMENTUM])), same(np.float32(numbers[Number.EPSILON]))
    toward_1 = same(np.float32(numbers[Number.TOWARD_1]))
    toward_2 = same(np.float32(numbers[Number.TOWARD_2]))
    bound, scale = np.float32(numbers[Number.CLIP]), same(np.float32(numbers[Number.CLIP_SCALE]))
    most, least = same(bound), same(-bound)
    norm = np.float32(np.sqrt(numbers[p[Field.SLOT]])) if clipping == CLIP_NORM else ONE
    norm_or_bound = same(bound if norm < bound else norm)
    for k in range(0, p[Field.SIZE], LANES):
        at, count = 4 * (p[Field.PARAM] + k), p[Field.SIZE] - k
        w, g = load(params + at), load(gradients + at)
        if clipping == CLIP_NORM:
            g = g * most / norm_or_bound
        elif clipping == CLIP_GLOBAL:
            g = g * scale
        elif clipping == CLIP_VALUE:
            g = where_greater(least, g, least, where_greater(g, most, most, g))
        if p[Field.STEP_B]:
            w = w - (w * decay) * rate
        if kind == DESCENT:
            w = w - g * rate
        elif kind == ADAM:
            m, v = load(state + at), load(velocities + at)
            m = m + (g - m) * toward_1
            v = v + (g * g - v) * toward_2
            w = w - (m * momentum) / (root(v) + epsilon)
            put(m, state + at, count)
            put(v, velocities + at, count)
        else:
            v = load(state + at) * momentum - g * rate
            w = w + (v * momentum - g * rate if kind == NESTEROV else v)
            put(v, state + at, count)
        put(w, params + at, count)


@jit
def move(p, params, gradients, numbers):
    """moving = momentum * moving + (1 - momentum) * batch, the batch's where a gradient would be."""
    stand_alone()
    if numbers[Number.FINITE] == 0.0:
        return
    keep, take = np.float32(numbers[Number.KEEP]), np.float32(numbers[Number.TAKE])
    for k in range(p[Field.PARAM], p[Field.PARAM] + p[Field.SIZE]):
        write(keep * read(params + 4 * k) + take * read(gradients + 4 * k), params + 4 * k)
