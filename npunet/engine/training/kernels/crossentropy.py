"""Cross-entropy of logits and its gradient, a row at a time: eight positions at once where there are few classes."""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.emit import VECTOR_BYTES
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import address, stand_alone
from npunet.engine.codegen.vectors import (
    load,
    load_integers,
    nothing,
    read,
    same,
    store,
    to_float32,
    where_equal,
    where_greater,
    wide_lane,
    wide_same,
    widen,
    write,
)
from npunet.engine.kernels.transpose import transpose
from npunet.engine.target import LANES
from npunet.engine.training.kernels.activation_rows import exponential_inline
from npunet.engine.training.kernels.log_polynomial import log_inline, wide_log
from npunet.engine.training.kernels.rows import X, Y, place
from npunet.engine.training.plan.step_opcodes import Field, Number

ZERO, ONE = np.float32(0), np.float32(1)
WEIGHTS = int(Number.WEIGHTS)


@inlined
def exponentials_to(y, x, channels):
    """exp(x - top) of all classes to y, in float32; returns top, the largest logit, and their sum in float64."""
    top, total = read(x), 0.0
    for k in range(1, channels):
        top = max(read(x + 4 * k), top)  # a NaN comes through in the sum
    for first in range(0, channels, LANES):
        store(exponential_inline(load(x + 4 * first) - same(top)), y + 4 * first)
        for k in range(first, min(first + LANES, channels)):
            total += read(y + 4 * k)
    return top, total


@inlined
def crossentropy_of_eight(x, x_step, y, channels, labels, numbers, per_position, ignored):
    """crossentropy_row's arithmetic on LANES positions of at most LANES classes, each position a lane; y, the gradient,
    holds them transposed meanwhile. Returns the positions' losses, whatever those of ignored ones may be."""
    transpose(x, x_step, y, VECTOR_BYTES)
    top = load(y)
    for k in range(1, channels):
        value = load(y + VECTOR_BYTES * k)
        top = where_greater(value, top, value, top)  # a NaN comes through in the sum
    total, weight, logit, own = nothing(), nothing(), same(ZERO), same(ZERO)
    for k in range(channels):
        number, value = same(np.float32(k)), load(y + VECTOR_BYTES * k)
        power = exponential_inline(value - top)
        store(power, y + VECTOR_BYTES * k)
        total = total + widen(power)
        weight = where_equal(labels, number, wide_same(numbers[WEIGHTS + k]), weight)
        logit = where_equal(labels, number, value, logit)
        own = where_equal(labels, number, power, own)
    share, scale = same(ONE) / to_float32(total), to_float32(weight * wide_same(per_position))
    own = scale * (own * share - same(ONE))
    for k in range(LANES):
        at = y + VECTOR_BYTES * k
        if k < channels:
            slope = where_equal(labels, same(np.float32(k)), own, scale * (load(at) * share))
            store(where_equal(labels, ignored, same(ZERO), slope), at)
        else:
            store(same(ZERO), at)
    transpose(y, VECTOR_BYTES, y, VECTOR_BYTES)
    return weight * (wide_log(total) - (widen(logit) - widen(top)))


@jit
def crossentropy_row(p, arena, numbers, labels, n, i):
    """dx = weight / counted * (softmax(x) - [k is the label]); returns the sum of weight * (log sum exp - x[label])."""
    stand_alone()
    channels, width = p[Field.CHANNELS], p[Field.WIDTH]
    x, y = place(p, arena, X, n, i), place(p, arena, Y, n, i)
    per_position, ignored = 1.0 / max(1.0, numbers[Number.COUNTED]), np.int64(numbers[Number.IGNORED])
    at, loss, done = (n * p[Field.HEIGHT] + i) * width, 0.0, 0
    if channels <= LANES:
        for j in range(0, width - LANES + 1, LANES):
            said = load_integers(address(labels) + 4 * (at + j))
            losses = crossentropy_of_eight(x, 4 * p[Field.X_COL], y, channels, said, numbers, per_position,
                                           same(np.float32(ignored)))
            for m in range(LANES):
                if labels[at + j + m] != ignored:
                    loss += wide_lane(losses, m)
            x += LANES * 4 * p[Field.X_COL]
            y += LANES * VECTOR_BYTES
            done += LANES
    for j in range(done, width):
        label = np.int64(labels[at + j])
        if label == ignored:
            for first in range(0, channels, LANES):
                store(same(ZERO), y + 4 * first)
        else:
            top, total = exponentials_to(y, x, channels)
            weight, share = numbers[WEIGHTS + label], ONE / np.float32(total)
            scale = np.float32(weight * per_position)
            own = scale * (read(y + 4 * label) * share - ONE)
            for first in range(0, channels, LANES):
                store(same(scale) * (load(y + 4 * first) * same(share)), y + 4 * first)
            write(own, y + 4 * label)
            loss += weight * (log_inline(total) - (np.float64(read(x + 4 * label)) - top))
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]
    return loss
