"""Losses: a row of logits to its share of the loss and to the gradient of the logits, in one pass.

Cross-entropy of logits and Dice take the declared float32 exponential and sum it over the classes in float64; the
others work in float64. See ops.losses for the formulas.
"""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.emit import VECTOR_BYTES
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import (
    load,
    read,
    read_wide,
    same,
    store,
    write,
    write_wide,
)
from npunet.engine.target import LANES
from npunet.engine.training.kernels.crossentropy import crossentropy_row, exponentials_to
from npunet.engine.training.kernels.log_polynomial import exp64, log64
from npunet.engine.training.kernels.rows import X, Y, opens_chunk, place, slot
from npunet.engine.training.plan.step_opcodes import (
    CROSSENTROPY,
    CROSSENTROPY_OF_SOFTMAX,
    DICE,
    FOCAL,
    SQUARED_ERROR,
    Field,
    Number,
)
from npunet.ops.losses import CLIP

ZERO, ONE = np.float32(0), np.float32(1)
WEIGHTS = int(Number.WEIGHTS)


@jit
def largest(x, channels):
    """The largest logit of a position; NaN wins."""
    top = read(x)
    for k in range(1, channels):
        value = read(x + 4 * k)
        if value > top or value != value:
            top = value
    return top


@jit
def exponentials(x, channels, top):
    """Sum over the classes of exp(x - top)."""
    total = 0.0
    for k in range(channels):
        total += exp64(np.float64(read(x + 4 * k)) - top)
    return total


@jit
def probability(x, k, top, total):
    return exp64(np.float64(read(x + 4 * k)) - top) / total


@jit
def clip(value):
    return min(max(value, CLIP), 1 - CLIP)


@jit
def crossentropy_of_softmax(x, y, channels, label, weight, counted):
    """Cross-entropy of the softmax's output as ops.losses has it, clipping and all, down to the logits."""
    top = np.float64(largest(x, channels))
    total, clipped = exponentials(x, channels, top), 0.0
    for k in range(channels):
        clipped += clip(probability(x, k, top, total))
    scale, inner = weight / counted, 0.0
    for stage in range(2):
        for k in range(channels):
            p = probability(x, k, top, total)
            q = clip(p)
            d = scale * (q / clipped - (1.0 if k == label else 0.0)) / q if q == p else 0.0
            if stage == 0:
                inner += d * p
            else:
                write(np.float32(p * (d - inner)), y + 4 * k)
    return weight * (log64(clipped) - log64(clip(probability(x, label, top, total))))


@jit
def focal(x, y, channels, label, alpha, counted, gamma):
    """alpha * (1 - p)^gamma * -log(p), p the label's clipped probability."""
    top = np.float64(largest(x, channels))
    total = exponentials(x, channels, top)
    share = probability(x, label, top, total)
    p = clip(share)
    logarithm, rest = log64(p), log64(1 - p)
    power = exp64(gamma * rest)
    dp = 0.0
    if share == p:
        dp = alpha / counted * (gamma * exp64((gamma - 1) * rest) * logarithm - power / p)
    for k in range(channels):
        d = share * ((1.0 if k == label else 0.0) - probability(x, k, top, total))  # d share / d x[k]
        write(np.float32(dp * d), y + 4 * k)
    return alpha * power * -logarithm


@jit
def dice_slot(channels, n, k):
    """Where an overlap stands among the numbers, its size behind it."""
    return WEIGHTS + channels + 2 * (n * channels + k)


@jit
def dice(y, channels, label, numbers, n):
    """Probabilities y to dx of the mean of 1 - 2 * overlap / size, in their place."""
    inner, share = 0.0, 2 * numbers[Number.SHARE]
    for stage in range(2):
        for k in range(channels):
            p, at = np.float64(read(y + 4 * k)), dice_slot(channels, n, k)
            d = share * (numbers[at] / numbers[at + 1] - (1.0 if k == label else 0.0)) / numbers[at + 1]
            if stage == 0:
                inner += d * p
            else:
                write(np.float32(p * (d - inner)), y + 4 * k)


@jit
def loss_row(p, arena, sums, numbers, labels, targets, n, i):
    """A row of logits x to their gradient y; the loss is added to the chunk's sum."""
    stand_alone()
    channels, kind, width = p[Field.CHANNELS], p[Field.KIND], p[Field.WIDTH]
    x, y = place(p, arena, X, n, i), place(p, arena, Y, n, i)
    counted, ignored = max(1.0, numbers[Number.COUNTED]), np.int64(numbers[Number.IGNORED])
    at = (n * p[Field.HEIGHT] + i) * width
    total = 0.0 if opens_chunk(p, i) else read_wide(slot(p, sums, n, i))
    if kind == CROSSENTROPY:
        total += crossentropy_row(p, arena, numbers, labels, n, i)
        width = 0
    for j in range(width):
        if kind == SQUARED_ERROR:
            for k in range(channels):
                error = np.float64(read(x + 4 * k)) - targets[(at + j) * channels + k]
                write(np.float32(2 * error / counted), y + 4 * k)
                total += error * error
        else:
            label = np.int64(labels[at + j])
            if label == ignored:
                for v in range(p[Field.VECTORS]):
                    store(same(ZERO), y + VECTOR_BYTES * v)
            elif kind == CROSSENTROPY_OF_SOFTMAX:
                total += crossentropy_of_softmax(x, y, channels, label, numbers[WEIGHTS + label], counted)
            elif kind == FOCAL:
                total += focal(x, y, channels, label, numbers[WEIGHTS + label], counted, numbers[Number.GAMMA])
            elif kind == DICE:
                dice(y, channels, label, numbers, n)
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]
    write_wide(total, slot(p, sums, n, i))


@jit
def dice_sums(p, arena, sums, numbers, labels, n, i):
    """The softmax of a row of logits x to y, in float32; and to the chunk's sums, for each class, its probability where
    it is the label, and then its probability anywhere and 1 where it is the label."""
    stand_alone()
    channels, width, home = p[Field.CHANNELS], p[Field.WIDTH], slot(p, sums, n, i)
    x, y, ignored = place(p, arena, X, n, i), place(p, arena, Y, n, i), np.int64(numbers[Number.IGNORED])
    if opens_chunk(p, i):
        for k in range(2 * channels):
            write_wide(0.0, home + 8 * k)
    for j in range(width):
        label = np.int64(labels[(n * p[Field.HEIGHT] + i) * width + j])
        if label != ignored:
            _, total = exponentials_to(y, x, channels)
            part = ONE / np.float32(total)
            for first in range(0, channels, LANES):
                store(load(y + 4 * first) * same(part), y + 4 * first)
            for k in range(channels):
                share, here = np.float64(read(y + 4 * k)), 1.0 if k == label else 0.0
                write_wide(read_wide(home + 16 * k) + here * share, home + 16 * k)
                write_wide(read_wide(home + 16 * k + 8) + (here + share), home + 16 * k + 8)
        x += 4 * p[Field.X_COL]
        y += 4 * p[Field.Y_COL]
