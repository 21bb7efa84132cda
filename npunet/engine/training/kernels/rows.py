"""Where the rows of a tensor and the sums of a chunk stand, and the kernels that copy rows and sum them.

Sums run in float64 over the positions of a row, then over the rows of a chunk (accumulated in place in the chunk's
slot); chunks are put together in order by sums.py. A chunk is fixed by the shape of the batch, not by the threads.
"""

from __future__ import annotations

import numpy as np

from npunet.engine.codegen.emit import PAIRS, VECTOR_BYTES
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import rolled, stand_alone
from npunet.engine.codegen.vectors import (
    load,
    load_pair,
    load_wide,
    load_wide_pair,
    nothing,
    nothing_pair,
    read,
    same,
    store,
    store_wide,
    widen,
    write,
)
from npunet.engine.plan.opcodes import STREAM_COLUMNS
from npunet.engine.target import LANES
from npunet.engine.training.plan.step_opcodes import FIELDS, Field

X, Y, Z, U = int(Field.X), int(Field.Y), int(Field.Z), int(Field.U)
ZERO = np.float32(0)


@jit
def place(p, arena, field, n, i):
    """Address of row i of sample n of the tensor described from column `field` on."""
    if p[field + 4] > 0:
        i %= p[field + 4]
    return arena + 4 * (p[field] + n * p[field + 1] + i * p[field + 2])


@jit
def first_tap(p, arena, n, i):
    """Address of what the first tap of row i's first output reads of x."""
    return place(p, arena, X, n, i + p[Field.FIRST_ROW]) + 4 * p[Field.START]


@inlined
def begin_streams(p, arena, n, i):
    """Set out the prefetch streams of row i of sample n, see plan.step_prefetch."""
    for first in range(Field.STREAMS, FIELDS, STREAM_COLUMNS):
        p[first] = arena + 4 * (p[first + 2] + n * p[first + 3] + i * p[first + 4])


@jit
def slot(p, sums, n, i):
    """Address of the sums of the chunk that holds row i of sample n."""
    return sums + 8 * (p[Field.SUMS] + (n * p[Field.CHUNKS] + i // p[Field.CHUNK_ROWS]) * p[Field.SUMS_SIZE])


@jit
def opens_chunk(p, i):
    """Whether row i is the first of its chunk."""
    return i % p[Field.CHUNK_ROWS] == 0


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
    vectors, margin = p[Field.Y_COL] // LANES, 4 * p[Field.LEFT] * p[Field.Y_COL]
    row = place(p, arena, Y, n, i)
    fill(row - margin, left * vectors)
    fill(row + 4 * width * p[Field.Y_COL], right * vectors)
    if i == 0:
        for above in range(1, p[Field.TOP] + 1):
            fill(place(p, arena, Y, n, -above) - margin, (left + width + right) * vectors)
    if i == height - 1:
        for below in range(height, height + p[Field.BOTTOM]):
            fill(place(p, arena, Y, n, below) - margin, (left + width + right) * vectors)
            mirror(p, arena, n, below)


@jit
def mirror(p, arena, n, i):
    """Write row i of a ring buffer y behind it too, where a reader's rows may run over its end."""
    stand_alone()
    if p[Field.Y_RING] > 0 and i % p[Field.Y_RING] < p[Field.MIRRORED]:
        row = place(p, arena, Y, n, i) - 4 * p[Field.LEFT] * p[Field.Y_COL]
        behind = row + 4 * p[Field.Y_RING] * p[Field.Y_ROW]
        for v in range(p[Field.Y_ROW] // LANES):
            store(load(row + VECTOR_BYTES * v), behind + VECTOR_BYTES * v)


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


def make_bias_sums(load, load_wide, nothing):
    @inlined
    def bias_sums_of(p, arena, sums, n, i, v):
        x_step, at = 4 * p[Field.X_COL], slot(p, sums, n, i) + 8 * LANES * v
        total = nothing() if opens_chunk(p, i) else load_wide(at)
        x = place(p, arena, X, n, i) + VECTOR_BYTES * v
        for _ in range(p[Field.WIDTH]):
            rolled()
            total = total + widen(load(x))
            x += x_step
        store_wide(total, at)

    return bias_sums_of


bias_sums_of = make_bias_sums(load, load_wide, nothing)
bias_sums_of_pair = make_bias_sums(load_pair, load_wide_pair, nothing_pair)


@jit
def bias_sums(p, arena, sums, n, i):
    """Add a row's sums of x to the chunk's."""
    stand_alone()
    v = 0
    while PAIRS and v + 2 <= p[Field.VECTORS]:
        bias_sums_of_pair(p, arena, sums, n, i, v)
        v += 2
    while v < p[Field.VECTORS]:
        bias_sums_of(p, arena, sums, n, i, v)
        v += 1
