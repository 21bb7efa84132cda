"""Kernels that do a whole small thing: pack weights, put chunks' sums together, close a norm."""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.emit import VECTOR_BYTES
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import load, read, read_wide, same, store, write
from npunet.engine.kernels.convolution import block_vectors
from npunet.engine.kernels.pointwise import float_of
from npunet.engine.target import LANES
from npunet.engine.training.kernels.loss_rows import dice_slot
from npunet.engine.training.plan.step_opcodes import Field, Flag, Number
from npunet.ops.losses import CLIP

ZERO, ONE = np.float32(0), np.float32(1)
WHOLE = int(Flag.WHOLE)


@jit
def pack(p, arena, params):
    """Weights (KH, KW, CHANNELS, SIZE), as steps into the block say, to [block of vectors][a][b][r][vector][lane].

    Lanes without a column are 0.
    """
    stand_alone()
    columns, vectors = p[Field.SIZE], p[Field.VECTORS]
    y = arena + 4 * p[Field.Y]
    done = 0
    while done < vectors:
        block = vectors if p[Field.FLAGS] & WHOLE else block_vectors(vectors - done)
        for a in range(p[Field.KH]):
            for b in range(p[Field.KW]):
                for r in range(p[Field.CHANNELS]):
                    source = params + 4 * (p[Field.PARAM] + a * p[Field.STEP_A] + b * p[Field.STEP_B]
                                           + r * p[Field.STEP_R])
                    for first in range(done * LANES, (done + block) * LANES, LANES):
                        if p[Field.STEP_C] == 1 and first + LANES <= columns:
                            store(load(source + 4 * first), y)
                        else:
                            store(same(ZERO), y)
                            for c in range(first, min(first + LANES, columns)):
                                write(read(source + 4 * c * p[Field.STEP_C]), y + 4 * (c - first))
                        y += VECTOR_BYTES
        done += block


@jit
def chunks_total(p, sums, samples, place):
    """The sum over all chunks, in order, of the number at `place` of each."""
    total = 0.0
    at = sums + 8 * (p[Field.SUMS] + place)
    for _ in range(samples * p[Field.CHUNKS]):
        total += read_wide(at)
        at += 8 * p[Field.SUMS_SIZE]
    return total


@jit
def sample_total(p, sums, n, place):
    """The same of one sample's chunks."""
    total = 0.0
    at = sums + 8 * (p[Field.SUMS] + n * p[Field.CHUNKS] * p[Field.SUMS_SIZE] + place)
    for _ in range(p[Field.CHUNKS]):
        total += read_wide(at)
        at += 8 * p[Field.SUMS_SIZE]
    return total


@jit
def constant_at(p, arena, row, c):
    return arena + 4 * (p[Field.NORM] + row * p[Field.VECTORS] * LANES + c)


@jit
def statistics_end(p, arena, params, gradients, sums, samples):
    """Mean and variance of a batch norm, and the scale and shift that ops.norm.batch_norm_scale_shift defines.

    mean = sum / n and var = max(sum of squares / n - mean^2, 0) in float64, each rounded once. They also go where the
    gradients of the moving statistics would be, behind those of gamma and beta, for MOVE.
    """
    stand_alone()
    channels, padded, eps = p[Field.CHANNELS], p[Field.VECTORS] * LANES, np.float32(float_of(p[Field.EPS]))
    for c in range(padded):
        inv, shift, mean, r = ZERO, ZERO, ZERO, ZERO
        if c < channels:
            wide = chunks_total(p, sums, samples, c) / p[Field.TERMS]
            square = chunks_total(p, sums, samples, padded + c) / p[Field.TERMS]
            var = square - wide * wide
            if var < 0:
                var = 0.0
            mean, variance = np.float32(wide), np.float32(var)
            r = ONE / np.sqrt(variance + eps)
            inv = read(params + 4 * (p[Field.PARAM] + c)) * r
            shift = read(params + 4 * (p[Field.PARAM] + channels + c)) - mean * inv
            write(mean, gradients + 4 * (p[Field.PARAM] + 2 * channels + c))
            write(variance, gradients + 4 * (p[Field.PARAM] + 3 * channels + c))
        write(mean, constant_at(p, arena, 0, c))
        write(r, constant_at(p, arena, 1, c))
        write(inv, constant_at(p, arena, 2, c))
        write(shift, constant_at(p, arena, 3, c))


@jit
def norm_end(p, arena, params, gradients, sums, samples):
    """dgamma, dbeta, and what NORM_DX multiplies by: with scale = gamma * r, the rows scale, -scale * dbeta / n and
    -scale * r * dgamma / n."""
    stand_alone()
    channels, padded = p[Field.CHANNELS], p[Field.VECTORS] * LANES
    terms = np.float32(p[Field.TERMS])
    for c in range(padded):
        scale, r, dbeta, dgamma = ZERO, read(constant_at(p, arena, 1, c)), ZERO, ZERO
        if c < channels:
            dbeta = np.float32(chunks_total(p, sums, samples, c))
            dgamma = np.float32(chunks_total(p, sums, samples, padded + c))
            scale = read(params + 4 * (p[Field.PARAM] + c)) * r
            write(dgamma, gradients + 4 * (p[Field.PARAM] + c))
            write(dbeta, gradients + 4 * (p[Field.PARAM] + channels + c))
        write(scale, constant_at(p, arena, 4, c))
        write(-scale * (dbeta / terms), constant_at(p, arena, 5, c))
        write(-scale * (r * (dgamma / terms)), constant_at(p, arena, 6, c))


@jit
def sums_end(p, gradients, sums, samples):
    """Sums of chunks of a bias or a depthwise kernel, (KH, KW, channels), to its gradient."""
    stand_alone()
    channels, padded = p[Field.CHANNELS], p[Field.VECTORS] * LANES
    for ky in range(p[Field.KH]):
        for kx in range(p[Field.KW]):
            home = (ky * p[Field.KW] + kx) * padded
            at = gradients + 4 * (p[Field.PARAM] + ky * p[Field.STEP_A] + kx * p[Field.STEP_B])
            for c in range(channels):
                write(np.float32(chunks_total(p, sums, samples, home + c)), at + 4 * c)


@jit
def loss_end(p, sums, numbers, samples):
    """The loss: chunks' sums, divided by the positions that count, rounded once to float32."""
    stand_alone()
    total = chunks_total(p, sums, samples, 0) / max(1.0, numbers[Number.COUNTED])
    numbers[Number.LOSS] = np.float64(np.float32(total))


@jit
def dice_end(p, sums, numbers, samples):
    """The Dice loss, and for each class of each sample the overlap and the size that its gradient needs.

    Where all are one overlap, each class of each sample gets the sum. A sample of which nothing counts has no share.
    """
    stand_alone()
    channels, overlaps, sizes, counted, loss = p[Field.CHANNELS], 0.0, CLIP, 0, 0.0
    for n in range(samples):
        some = 0.0
        for k in range(channels):
            overlap, size = sample_total(p, sums, n, 2 * k), sample_total(p, sums, n, 2 * k + 1)
            numbers[dice_slot(channels, n, k)], numbers[dice_slot(channels, n, k) + 1] = overlap, size + CLIP
            overlaps, sizes, some = overlaps + overlap, sizes + size, some + size
        if some > 0.5:  # a position that counts adds 2: its label and its probabilities
            counted += channels
            for k in range(channels):
                at = dice_slot(channels, n, k)
                loss += 1 - 2 * numbers[at] / numbers[at + 1]
    if numbers[Number.EACH] == 0:
        counted, loss = min(counted, 1), 1 - 2 * overlaps / sizes
        for n in range(samples):
            for k in range(channels):
                numbers[dice_slot(channels, n, k)], numbers[dice_slot(channels, n, k) + 1] = overlaps, sizes
    numbers[Number.SHARE] = 1.0 / max(1, counted)
    numbers[Number.LOSS] = np.float64(np.float32(loss / counted)) if counted > 0 else 0.0
